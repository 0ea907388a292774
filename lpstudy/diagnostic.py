"""The description of a number that a method logs about its own training, for the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A number that a method's `start` or `diagnose` returns: a column of the report's table."""

    name: str
    """The key under which it is returned, and the metric's name in MLflow."""
    title: str
    """The head of its column."""
    unit: str = ""
    """Shown after the title in brackets; empty for a pure number."""

    @property
    def head(self) -> str:
        """The title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

"""The version of the package, below all other modules."""

__version__ = "0.1.0"

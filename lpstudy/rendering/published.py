"""The note on published results below the comparison."""

import pandas as pd

from lpstudy.rendering.markdown import Markdown, code, escape, join


def published_note(comparison: pd.DataFrame) -> list[Markdown]:
    """Where the published accuracies come from; nothing where there are none."""
    rows = comparison[comparison["published"].notna()]
    if rows.empty:
        return []
    methods = rows.groupby("published_source", sort=False)["method"].unique()
    sources = join(
        (
            Markdown(f"{escape(source)} ({', '.join(code(name) for name in names)})")
            for source, names in methods.items()
        ),
        "; ",
    )
    compared = (
        " In parentheses the study's mean less it, where the study has the published recipe."
        if rows["delta_published"].notna().any()
        else " The study's recipe is another one, so no difference is shown."
    )
    return [Markdown(f"Published is the test accuracy in percent that others report: {sources}.{compared}")]

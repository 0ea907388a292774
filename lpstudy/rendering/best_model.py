"""The report's section on the best network: its folder and the code to load it."""

import json

from lpstudy.rendering.markdown import Markdown, code
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.text import public_text


def best_model_section(study: StudyFacts, results: list[ArmResult]) -> tuple[Markdown, Markdown] | None:
    """The folder of a final of the best arm, and the lines that load it; None where none has finished.

    Of its seeds the one with the highest validation accuracy is named: the test set chooses nothing.
    """
    finished = [result for result in results if len(result.finished_finals) and result.accuracy.n]
    if not finished:
        return None
    best = max(finished, key=lambda result: result.accuracy.mean)
    final = best.finished_finals.sort_values("validation_accuracy", ascending=False, kind="stable").iloc[0]
    folder = f"{study.name}/runs/{best.arm.name}/final-{final['trial']}-seed-{final['seed']}"
    # JSON keeps the line in ASCII, and within the line no backtick ends the fence.
    path = json.dumps(public_text(f"studies/{folder}"))
    return code(folder), Markdown(f"```python\nimport lpstudy\n\nmodel = lpstudy.load_model({path})\n```")

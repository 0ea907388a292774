"""The report's section on networks: the folder of the one that `lpstudy deploy` takes, and its loading."""

import json

from lpstudy.rendering.markdown import Markdown, code
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.choice import choose_arm, choose_final
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.text import public_text


def best_model_section(study: StudyFacts, results: list[ArmResult]) -> tuple[Markdown, Markdown] | None:
    """The folder of a final of the best arm, and the lines that load it; None where none has finished.

    Arm and final are chosen on validation, as `lpstudy deploy` does: the test set chooses nothing.
    """
    try:
        best = choose_arm(results)
    except ValueError:  # no final has finished yet
        return None
    final = choose_final(best)
    folder = f"{study.name}/runs/{best.arm.name}/final-{final['trial']}-seed-{final['seed']}"
    # JSON keeps the line in ASCII, and within the line no backtick ends the fence.
    path = json.dumps(public_text(f"studies/{folder}"))
    return code(folder), Markdown(f"```python\nimport lpstudy\n\nmodel = lpstudy.load_model({path})\n```")

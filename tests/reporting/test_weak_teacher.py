"""Warnings of a teacher that guesses, or has twice its students' error rate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from lpstudy.rendering.report_files import report_text
from lpstudy.tables import TeacherFacts
from lpstudy.tables.weak_teacher import half_warning, is_near_chance, teacher_warnings

NEAR = {
    # accuracy, chance, validation images: in percent
    "guessing, 10 classes": (10.0, 10.0, 1000, True),
    "19.8 of 25 classes is no guess": (19.8, 4.0, 1000, False),
    "two classes, a little above": (53.0, 50.0, 10_000, True),
    "two classes, learnt": (60.0, 50.0, 10_000, False),
    "two classes, few images": (60.0, 50.0, 20, True),
    "1000 classes, weak but learnt": (1.0, 0.1, 50_000, False),
    "1000 classes, guessing": (0.12, 0.1, 50_000, True),
    "one class holds most": (90.5, 90.0, 1000, True),
    "one class holds most, learnt": (95.0, 90.0, 1000, False),
    "worse than guessing": (0.0, 10.0, 1000, True),
}


@pytest.mark.parametrize("case", NEAR)
def test_near_chance_is_distinguished_from_learnt(case: str) -> None:
    accuracy, chance, samples, near = NEAR[case]
    assert is_near_chance(accuracy, chance, samples) == near


def test_half_of_a_student_is_the_limit() -> None:
    assert half_warning(40.0, 80.0) is None
    assert half_warning(39.9, 80.0) == (
        "the teacher reaches 39.90 % on validation, less than half of a student's 80.00 %"
    )


TEACHER = TeacherFacts(
    label="resnet18",
    test_accuracy=20.0,
    parameters=1,
    macs=1,
    training_macs=None,
    seed=None,
    weights_hash="0",
    run_id="",
    validation_accuracy=19.8,
    chance=4.0,
)
RUNS = pd.DataFrame({"state": ["finished", "failed", "finished"], "validation_accuracy": [42.4, 99.0, None]})


def test_a_good_teacher_is_not_warned_of() -> None:
    assert teacher_warnings(replace(TEACHER, validation_accuracy=21.2), RUNS, 1000) == []
    assert teacher_warnings(replace(TEACHER, validation_accuracy=None), RUNS, 1000) == []


def test_a_teacher_outdone_twofold_is_warned_of() -> None:
    (warning,) = teacher_warnings(TEACHER, RUNS, 1000)
    assert "19.80 %" in warning
    assert "less than half of a student's 42.40 %" in warning


def test_advice_is_by_where_the_weights_come_from() -> None:
    guessing = replace(TEACHER, validation_accuracy=4.0)
    (chance, _) = teacher_warnings(guessing, RUNS, 1000)
    assert "guessing 4.00 %" in chance
    assert "[teacher] mean, std, image_size" in chance
    (chance, _) = teacher_warnings(replace(guessing, seed=0), RUNS, 1000)
    assert "it has learnt next to nothing" in chance


def test_an_untrained_head_is_reported_in_place_of_its_accuracy() -> None:
    (warning,) = teacher_warnings(replace(TEACHER, file_classes=1000, validation_accuracy=4.0), RUNS, 1000)
    assert "its file has 1000 classes: its logits mean nothing" in warning


def test_the_report_warns_before_its_comparison(frames: Any) -> None:
    weak = replace(frames.study.teacher, validation_accuracy=12.0, chance=10.0)
    text = report_text(
        replace(frames.results, facts=replace(frames.study, teacher=weak)), (), links=lambda _: ""
    )
    before, _, _ = text.partition("## Comparison")
    assert before.count("**Warning:**") == 2
    assert "guessing 10.00 %" in before
    healthy = report_text(frames.results, (), links=lambda _: "")
    assert "**Warning:**" not in healthy


def test_the_report_names_a_final_and_two_lines_that_load_it(frames: Any) -> None:
    text = report_text(frames.results, (), links=lambda _: "")
    fence = next(
        token for token in MarkdownIt().parse(text) if token.type == "fence" and token.info == "python"
    )
    first, _, second = fence.content.splitlines()
    assert first == "import lpstudy"
    called: list[str] = []
    load_model: Callable[[str], None] = called.append
    exec(second, {"lpstudy": type("Module", (), {"load_model": staticmethod(load_model)})})
    (path,) = called
    study, runs, arm, final = path.removeprefix("studies/").split("/")
    assert (study, runs) == (frames.study.name, "runs")
    finals = frames.runs[frames.runs["kind"].eq("final") & frames.runs["arm"].eq(arm)]
    all_finals = frames.runs[frames.runs["kind"].eq("final")]
    assert arm == all_finals.groupby("arm")["validation_accuracy"].mean().idxmax()
    median = finals[finals["validation_accuracy"].eq(finals["validation_accuracy"].median())].iloc[0]
    assert final == f"final-{median.trial}-seed-{median.seed}"

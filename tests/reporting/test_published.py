"""Published results beside the study's own."""

from dataclasses import replace

import pytest

from lpstudy.space import parse
from lpstudy.tables import comparison
from lpstudy.tables.facts import PublishedFacts
from lpstudy.tracking.study_facts import study_facts
from lpstudy.tracking.study_json import StudyJson

STUDY = {
    "name": "pair",
    "data": {"kind": "digits", "labels_per_class": 5, "unlabelled": "rest", "labelled_fraction": 0.2},
    "teacher": {"family": "convnet", "depth": 3, "width": 8, "labels_per_class": "all"},
    "students": [{"family": "convnet", "depth": 2, "width": 4}],
    "methods": {"bp": {}, "kd": {}},
    "budget": {"epochs": 240},
}
TEACHER = {
    "label": "t",
    "sha256": "0",
    "test_accuracy": 90.0,
    "parameters": 9,
    "macs": 9,
    "training_macs": 1.0,
}
DATA = {"name": "digits", "classes": 10, "train": 899, "validation": 299, "test": 599}


NETWORK = STUDY["teacher"] | {"labels_per_class": None}
"""The teacher with the students' labels."""


def facts_of(**sections: object):
    spec = parse(STUDY | sections, "here")
    table = {"spec": {}, "data": DATA | {"labelled": 700}, "teacher": TEACHER | {"seed": 0}, "provenance": {}}
    return study_facts(StudyJson.model_validate(table), spec, {}, experiment="1", teacher="t")


def published_with(frames, arms=None, teacher=None):
    """The study's facts with published results by arm, and its comparison."""
    arms = arms or {}
    replaced = tuple(replace(arm, published=arms.get(arm.name)) for arm in frames.study.arms)
    study = replace(frames.study, arms=replaced, teacher=replace(frames.study.teacher, published=teacher))
    return study, comparison(study, frames.runs)


@pytest.mark.parametrize("epochs", [None, 100, 240])
def test_a_published_result_is_compared_where_the_recipe_is_the_same(epochs: int | None) -> None:
    result = {"method": "kd", "student": "convnet-d2-w4", "value": 74.92, "source": "RepDistiller"}
    study = facts_of(published=[result | ({} if epochs is None else {"epochs": epochs})])
    bp, kd = study.arms
    assert bp.published is None
    assert kd.published == PublishedFacts(74.92, "RepDistiller", "", has_same_recipe=epochs == 240)


def test_a_result_of_the_teacher_is_its_own() -> None:
    result = {"method": "teacher", "student": "convnet-d3-w8", "value": 75.61, "source": "a"}
    assert facts_of(published=[result]).teacher.published == PublishedFacts(75.61, "a")
    with pytest.raises(ValueError, match=r"published.0.student: must be one of convnet-d3-w8 but got 'x'"):
        facts_of(published=[result | {"student": "x"}])


def test_the_table_has_value_source_and_difference(make_frames, text_of) -> None:
    frames = make_frames(methods=("bp", "kd", "lp"), students=("convnet-d4-w8",))
    kd, bp = "kd-convnet-d4-w8", "bp-convnet-d4-w8"
    study, table = published_with(
        frames,
        {
            kd: PublishedFacts(88.0, "README of X", "best test epoch", True),
            bp: PublishedFacts(87.5, "README of X"),
        },
        PublishedFacts(93.0, "README of X"),
    )
    rows = table.set_index("method")
    assert rows.loc["kd", "published_source"] == "README of X; best test epoch"
    assert rows.loc["kd", "delta_published"] == pytest.approx(rows.loc["kd", "accuracy_mean"] - 88)
    assert rows["delta_published"].notna().sum() == 1
    text = text_of(replace(frames, study=study)).replace("\u00a0", " ")
    assert f"| 88.00 ({rows.loc['kd', 'delta_published']:+.2f}) |".replace("-", "−") in text
    assert "| 93.00 |" in text
    assert "others report: README of X (`teacher`, `bp`); README of X; best test epoch (`kd`)." in text
    assert "In parentheses the study's mean less it" in text


def test_without_published_results_there_is_no_column(make_frames, text_of) -> None:
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",))
    assert "| published |" not in text_of(frames)
    assert comparison(frames.study, frames.runs)["published"].isna().all()


def test_a_hostile_source_stays_text(make_frames, text_of) -> None:
    frames = make_frames(methods=("bp",), students=("convnet-d4-w8",))
    study, _ = published_with(frames, {"bp-convnet-d4-w8": PublishedFacts(1.0, "[x](http://e) | <b>")})
    text = text_of(replace(frames, study=study))
    assert "](http://e)" not in text
    assert "<b>" not in text


def test_the_report_says_which_images_have_labels(make_frames, text_of) -> None:
    few, teacher = facts_of().label_words
    assert few.startswith("Of these images 50 have labels, 5 in each class (0.2 of every batch)")
    assert teacher == "The teacher learned from all labels of the training part"
    (every,) = facts_of(data={"kind": "digits", "unlabelled": "more"}, teacher=NETWORK).label_words
    assert every.startswith("Of these images 700 have labels (0.5 of every batch): CE is their mean")
    assert facts_of(data={"kind": "digits"}, teacher=NETWORK).label_words == ()
    frames = make_frames(methods=("bp",), students=("convnet-d4-w8",))
    assert few in text_of(replace(frames, study=replace(frames.study, label_words=(few,))))

"""The planned content of a bank, by hand: 100 samples, 10 logits, 8 features, maps of 256 and 128 numbers."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from lpstudy.data import Data
from lpstudy.space import StudySpec
from lpstudy.teacher import plan_bank

MakeStudy = Callable[..., StudySpec]

FEATURES = {"kd": {}, "lp": {"n_neighbors": 3}}
HINT = FEATURES | {"fitnet": {}}
HINTS = FEATURES | {"fitnet": {"hint": {"choices": ["conv1", "conv2"]}}}
BLOB = 100 * 18 * 2 / 1e9
"""GB of logits and embedding of one view in fp16."""


def names(spec: StudySpec, data: Data) -> tuple[set[str], set[str]]:
    """The names of the banked outputs and of those computed at each step."""
    plan = plan_bank(spec, data)
    return {output.name for output in plan.banked_outputs}, set(plan.online)


@pytest.mark.parametrize(
    ("epochs", "views", "reason"),
    [
        (1, 1, "1 of 18 views, one for each epoch of a run"),
        (17, 17, "17 of 18 views, one for each epoch of a run"),
        (18, 18, "all 18 views"),
        (40, 18, "all 18 views"),
    ],
)
def test_there_is_a_view_for_each_epoch_as_long_as_there_are_so_many(
    epochs: int, views: int, reason: str, make_study: MakeStudy, data: Data
) -> None:
    plan = plan_bank(make_study(epochs=epochs), data)
    assert (plan.views, plan.augmentations, plan.samples, plan.reason) == (views, 18, 100, reason)
    assert plan.bytes == views * 100 * 18 * 2


@pytest.mark.parametrize(
    ("dtype", "room", "views"), [("fp16", 7.99, 7), ("fp16", 8.01, 8), ("fp32", 8.01, 4), ("fp16", 99, 12)]
)
def test_there_are_fewer_views_where_logits_and_embedding_of_more_would_not_fit(
    dtype: str, room: float, views: int, make_study: MakeStudy, data: Data
) -> None:
    plan = plan_bank(make_study(epochs=12, bank_gb=room * BLOB, bank_dtype=dtype), data)
    assert plan.views == views
    assert plan.bytes <= room * BLOB * 1e9
    assert plan.online == ()
    if views < 12:
        assert plan.reason == f"{views} of 18 views, as many as fit in bank_gb = {room * BLOB:g}"


def test_more_views_than_fit_are_refused_with_the_number_that_would(
    make_study: MakeStudy, data: Data
) -> None:
    assert plan_bank(make_study(views=3, bank_gb=3.01 * BLOB), data).views == 3
    with pytest.raises(
        ValueError, match=r"^\[teacher\] views = 4: embedding and .* room for 3 views; lower"
    ) as error:
        plan_bank(make_study(views=4, bank_gb=3.01 * BLOB), data)
    assert str(error.value).isprintable()


def test_more_views_than_there_are_are_refused(make_study: MakeStudy, data: Data) -> None:
    assert plan_bank(make_study(views=18), data).reason == "18 of 18 views, as [teacher] views says"
    with pytest.raises(ValueError, match="views is 19, but pad and flip give 18 views"):
        plan_bank(make_study(views=19), data)


def test_views_that_were_asked_for_may_be_more_than_the_epochs(make_study: MakeStudy, data: Data) -> None:
    assert plan_bank(make_study(epochs=2, views=5), data).views == 5


def test_online_keeps_nothing_and_shows_all_views(make_study: MakeStudy, data: Data) -> None:
    spec = make_study(HINT, online=True)
    plan = plan_bank(spec, data)
    assert (plan.views, plan.banked_outputs, plan.bytes, plan.reason) == (
        18,
        (),
        0,
        "[teacher] online = true",
    )
    assert set(plan.online) == {"logits", "embedding", "map.conv1"}
    with pytest.raises(ValidationError, match="no effect with online = true"):
        make_study(online=True, views=3)


def test_where_not_even_one_view_fits_the_teacher_runs_and_all_views_are_shown(
    make_study: MakeStudy, data: Data
) -> None:
    plan = plan_bank(make_study(bank_gb=0.99 * BLOB), data)
    assert (plan.views, plan.banked_outputs, set(plan.online)) == (18, (), {"logits", "embedding"})
    assert plan.reason.startswith("one view takes 3.6e-06 GB, more than bank_gb = ")


def test_a_map_that_does_not_fit_is_computed_at_each_step_and_the_small_outputs_are_banked(
    make_study: MakeStudy, data: Data
) -> None:
    whole = 3 * 100 * (18 + 256) * 2 / 1e9
    small = {"logits", "embedding"}
    assert names(make_study(HINT, bank_gb=1.001 * whole), data) == (small | {"map.conv1"}, set())
    spec = make_study(HINT, bank_gb=0.999 * whole)
    assert names(spec, data) == (small, {"map.conv1"})
    plan = plan_bank(spec, data)
    assert plan.views == 3
    assert "map.conv1 of so many views would not fit in bank_gb = " in plan.reason


def test_of_two_maps_the_smaller_is_banked_first(make_study: MakeStudy, data: Data) -> None:
    room = 3 * 100 * (18 + 256) * 2 / 1e9  # for either map, not for both
    assert names(make_study(HINTS, bank_gb=room), data) == (
        {"logits", "embedding", "map.conv2"},
        {"map.conv1"},
    )


@pytest.mark.parametrize(
    ("methods", "banked_names"),
    [
        ({"kd": {}}, {"logits"}),
        ({"lp": {}}, {"embedding"}),
        ({"lp_kd": {"method": "lp", "kd_weight": 1.0}}, {"logits", "embedding"}),
        ({"fitnet": {}}, {"logits", "map.conv1"}),
        ({"fitnet": {"hint": "conv2"}}, {"logits", "map.conv2"}),
        ({"lp": {"teacher_layer": "conv2"}}, {"map.conv2"}),
        ({"lp": {"teacher_layer": {"choices": ["conv2", "embedding"]}}}, {"map.conv2", "embedding"}),
        (
            {"bp": {}, "lp": {}, "fitnet": {"hint": {"choices": ["conv1", "conv2"]}}},
            {"embedding", "logits", "map.conv1", "map.conv2"},
        ),
    ],
)
def test_the_bank_holds_what_any_arm_with_any_choice_reads(
    methods: dict[str, dict[str, object]], banked_names: set[str], make_study: MakeStudy, data: Data
) -> None:
    assert names(make_study(methods), data) == (banked_names, set())


def test_maps_alone_are_banked_for_as_many_views_as_fit(make_study: MakeStudy, data: Data) -> None:
    methods = {"lp": {"teacher_layer": "conv2"}}
    plan = plan_bank(make_study(methods, epochs=9, bank_gb=4.5 * 100 * 128 * 2 / 1e9), data)
    assert (plan.views, plan.bytes_per_view, plan.online) == (4, 100 * 128 * 2, ())


def test_a_study_of_the_baseline_alone_keeps_nothing(make_study: MakeStudy, data: Data) -> None:
    plan = plan_bank(make_study({"bp": {}}), data)
    assert (plan.banked_outputs, plan.online, plan.views) == ((), (), 18)
    assert plan.reason == "no method reads the teacher"


@pytest.mark.parametrize("room", [0.0, -1.0, float("inf"), float("nan")])
def test_the_room_is_a_positive_number(room: float, make_study: MakeStudy) -> None:
    with pytest.raises(ValidationError, match="bank_gb"):
        make_study(bank_gb=room)


def test_a_new_arm_changes_neither_views_nor_place_of_what_others_read(
    make_study: MakeStudy, data: Data
) -> None:
    room = 12.5 * 100 * 10 * 2 / 1e9  # logits of 12 views and a half
    before = plan_bank(make_study({"kd": {}}, epochs=12, bank_gb=room), data)
    assert (before.views, [output.name for output in before.banked_outputs]) == (12, ["logits"])
    decided = before.decisions(None)
    more = make_study(FEATURES, epochs=12, bank_gb=room)
    assert plan_bank(more, data).views == 6  # from the start, there would have been fewer views of both
    grown = plan_bank(more, data, decided)
    assert (grown.views, [one.name for one in grown.banked_outputs], grown.online) == (
        12,
        ["logits"],
        ("embedding",),
    )
    assert "embedding of so many views would not fit" in grown.reason
    again = plan_bank(make_study({"bp": {}}, epochs=12, bank_gb=room), data, grown.decisions(decided))
    assert (again.views, again.banked_outputs) == (12, ())


def test_what_fits_beside_the_rest_is_planned_as_from_the_start(make_study: MakeStudy, data: Data) -> None:
    before = plan_bank(make_study({"kd": {}}, epochs=9), data).decisions(None)
    assert plan_bank(make_study(HINT, epochs=9), data, before) == plan_bank(make_study(HINT, epochs=9), data)


def test_the_room_of_a_hidden_arms_outputs_is_not_given_away(make_study: MakeStudy, data: Data) -> None:
    room = 9.5 * BLOB
    before = plan_bank(make_study({"lp": {"n_neighbors": 3}}, epochs=9, bank_gb=room), data).decisions(None)
    hint = make_study({"fitnet": {"hint": "conv2"}}, epochs=9, bank_gb=room)
    plan = plan_bank(hint, data, before)
    assert [output.name for output in plan.banked_outputs] == ["logits"]
    assert plan.decisions(before).banked == {"embedding", "logits"}
    alone = plan_bank(hint.model_copy(update={"methods": {"kd": {}}}), data, before)
    assert [output.name for output in alone.banked_outputs] == ["logits"]


def test_a_study_begun_without_readers_of_the_teacher_keeps_its_views(
    make_study: MakeStudy, data: Data
) -> None:
    before = plan_bank(make_study({"bp": {}}, epochs=2), data)
    assert before.views == 18
    assert plan_bank(make_study(epochs=2), data, before.decisions(None)).views == 18

"""The verdicts on methods: Holm's correction per student, the best method, designs, failures."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from answers import answer_paragraphs

from lpstudy import figures
from lpstudy.correctness import pack
from lpstudy.rendering.sections import comparison_section, notes
from lpstudy.tables import comparison
from lpstudy.tables.arms import arm_results
from lpstudy.tables.verdicts import leads_over, verdicts, verdicts_against

STUDENT = "convnet-d4-w8"
IMAGES = 10_000


def set_differences(frames, method: str, differences: Sequence[float], *, student: str = STUDENT) -> None:
    """Set an arm's finals to back-prop's of the same seed with some more or fewer correct images."""
    runs = frames.runs
    final = runs["kind"].eq("final")
    base = runs[final & runs["arm"].eq(f"bp-{student}")].set_index("seed")["test_accuracy"]
    for seed, difference in enumerate(differences):
        (place,) = runs.index[final & runs["arm"].eq(f"{method}-{student}") & runs["seed"].eq(seed)]
        correct = np.arange(IMAGES) < round((base[seed] + difference) * IMAGES / 100)
        runs.at[place, "test_accuracy"] = 100 * correct.mean()
        runs.at[place, "test_correct"] = pack(correct)


def results_of(frames):
    return arm_results(frames.study, frames.runs)


def text_of_answer(frames) -> str:
    return "\n".join(answer_paragraphs(frames.study.teacher, results_of(frames)))


def rows_of_table(frames) -> dict[str, str]:
    """The lines of the comparison by method."""
    section = comparison_section(frames.study, results_of(frames), comparison(frames.study, frames.runs))
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line.replace("\u00a0", " ") for line in lines}


@pytest.fixture
def many(make_frames):
    """Back-prop and five methods within noise of it."""
    frames = make_frames(methods=("bp", "kd", "fitnet", "lp", "lp_kd", "at"), students=(STUDENT,))
    for method in ("kd", "fitnet", "lp", "lp_kd", "at"):
        set_differences(frames, method, [0.5, -0.5, 0.4, -0.4, 0.0])
    return frames


BORDER = [1.2, 0.25, 0.9, 0.4, 0.6]
"""A difference beyond noise as a single test, but not as one of five."""
CLEAR = [2.0, 2.2, 1.8, 2.1, 1.9]


def test_difference_beyond_noise_alone_is_none_among_five_methods(many):
    set_differences(many, "lp", BORDER)
    (verdict,) = [one for one in verdicts(results_of(many)) if one.result.arm.method == "lp"]
    assert verdict.delta.excludes_zero
    assert verdict.tests == 5
    assert verdict.p_value == pytest.approx(5 * verdict.delta.p_value)
    assert verdict.p_value > 0.05
    assert "**" not in rows_of_table(many)["lp"]
    text = text_of_answer(many)
    assert "beyond noise alone, not as one of 5 comparisons" in text
    assert "is best" not in text
    assert "leads" not in text


def test_the_same_difference_is_claimed_where_it_is_the_only_one(make_frames):
    frames = make_frames(methods=("bp", "lp"), students=(STUDENT,))
    set_differences(frames, "lp", BORDER)
    assert "**`lp` is best**" in text_of_answer(frames)
    assert rows_of_table(frames)["lp"].count("**") == 4  # accuracy and difference


def test_bold_is_what_is_claimed_and_no_mean(many):
    set_differences(many, "kd", [3.0, -2.5, 3.0, -2.0, 2.0])  # the highest mean, and all noise
    set_differences(many, "fitnet", [-x for x in CLEAR])
    rows = rows_of_table(many)
    assert "**" not in rows["kd"]
    assert "**" not in rows["bp"]
    assert rows["fitnet"].count("**") == 2
    assert "**−2.00" in rows["fitnet"]


def test_worse_is_said_of_an_interval_and_not_of_a_mean(many):
    set_differences(many, "lp", [-1.0, 0.6, -0.9, 0.4, -0.3])
    set_differences(many, "at", [-x for x in CLEAR])
    text = text_of_answer(many)
    assert "Worse: `at` (−2.00" in text
    assert "`lp` (−0.24" in text.split("Worse:")[0].split("Within noise")[1]


def test_best_beats_every_rival_and_not_the_next_alone(many):
    set_differences(many, "kd", CLEAR)
    # The next is far behind with certainty; another is further behind, and may be as good.
    set_differences(many, "lp", [x - 0.5 for x in CLEAR])
    set_differences(many, "fitnet", [3.4, -1.8, 3.3, -1.9, 2.5])
    text = text_of_answer(many)
    assert "is best" not in text
    assert "**`kd` leads**" in text
    assert "Its lead over `fitnet` (+0.90" in text
    assert rows_of_table(many)["kd"].count("**") == 2  # the difference alone
    set_differences(many, "fitnet", [0.5, -0.5, 0.4, -0.4, 0.0])
    text = text_of_answer(many)
    assert "**`kd` is best**" in text
    assert "Its lead over the next, `lp` (+0.50 ± 0.1" in text
    assert rows_of_table(many)["kd"].count("**") == 4


def test_lead_that_is_clear_of_the_best_alone_is_named_among_all_pairs(many):
    set_differences(many, "kd", CLEAR)
    set_differences(many, "lp", np.subtract(CLEAR, [1.3, 0.4, 1.1, 0.5, 0.8]))
    set_differences(many, "fitnet", [3.4, -1.8, 3.3, -1.9, 2.5])
    for method in ("lp_kd", "at"):
        set_differences(many, method, [3.4, -1.8, 3.3, -1.9, 2.4])
    by_name = {one.arm.method: one for one in results_of(many)}
    rivals = [one for name, one in by_name.items() if name != "kd"]
    p = {
        test.__name__: next(v.p_value for v in test(by_name["kd"], rivals) if v.rival.arm.method == "lp")
        for test in (verdicts_against, leads_over)
    }
    assert p["verdicts_against"] < 0.05 < p["leads_over"]
    assert "Its lead over `lp` (+0.82" in text_of_answer(many)


def test_many_unbeaten_rivals_are_counted(many):
    set_differences(many, "kd", [2.6, 1.0, 2.4, 1.2, 1.8])
    for method in ("fitnet", "lp", "lp_kd", "at"):
        set_differences(many, method, [2.4, 0.9, 2.6, 1.1, 1.6])
    assert "and 1 other is within noise." in text_of_answer(many)


def test_two_seeds_that_agree_to_the_image_are_said_in_words(make_frames):
    frames = make_frames(methods=("bp", "kd"), students=(STUDENT,), seeds=2)
    set_differences(frames, "kd", [-0.2, -0.2])
    text = text_of_answer(frames)
    assert "two seeds agree to the image" in text
    assert "cannot be told" in text
    assert "± 0.00" not in text
    assert "Worse" not in text
    assert "Two seeds say next to nothing" in text
    assert "**" not in rows_of_table(frames)["kd"]


def test_three_seeds_that_agree_to_the_image_say_so(make_frames):
    frames = make_frames(methods=("bp", "kd"), students=(STUDENT,), seeds=3)
    set_differences(frames, "kd", [0.01, 0.01, 0.01])
    assert "all 3 seeds agree to the image" in text_of_answer(frames)


def test_failed_finals_are_counted_in_the_answer(one):
    runs = one.runs
    for seed in (1, 3):
        lost = runs.index[runs["run_id"].eq(f"kd-{STUDENT}-f{seed}")]
        runs.loc[lost, ["state", "test_accuracy"]] = ["failed", np.nan]
    assert "2 of the 5 finals of `kd` failed" in text_of_answer(one)


def test_arm_whose_finals_all_failed_is_named_and_no_rival(one):
    runs = one.runs
    set_differences(one, "kd", CLEAR)
    lost = runs.index[runs["arm"].eq(f"lp-{STUDENT}") & runs["kind"].eq("final")]
    runs.loc[lost, ["state", "test_accuracy"]] = ["failed", np.nan]
    text = text_of_answer(one)
    assert "**`lp` has no result**: all 5 finals failed." in text
    assert "**`kd` is best**" in text
    runs.loc[lost, "state"] = "running"  # not lost yet: it may still be the better one
    text = text_of_answer(one)
    assert "`lp` has no finished final yet." in text
    assert "**`kd` leads**" in text


def test_arm_whose_trials_all_failed_is_named(one):
    runs = one.runs
    mine = runs["arm"].eq(f"lp-{STUDENT}")
    one = replace(one, runs=runs[~(mine & runs["kind"].eq("final"))].copy())
    trials = one.runs["arm"].eq(f"lp-{STUDENT}") & one.runs["state"].isin(("finished", "pruned"))
    one.runs.loc[trials, "state"] = "failed"
    assert "**`lp` has no result**: all of its trials failed." in text_of_answer(one)


def test_failed_finals_alone_are_reported_too(one):
    final = one.runs["kind"].eq("final")
    one.runs.loc[final, ["state", "test_accuracy"]] = ["failed", np.nan]
    assert "15 finals failed" in text_of_answer(one)


def test_pruned_trial_is_no_winner_before_the_finals(one):
    runs = one.runs[one.runs["kind"].eq("trial")].copy()
    pruned = runs.index[runs["arm"].eq(f"kd-{STUDENT}") & runs["state"].eq("pruned")][0]
    runs.loc[pruned, "validation_accuracy"] = 99.9
    runs.at[pruned, "hyperparameters"] = {"weight": 123.0}
    runs.loc[pruned, ["student", "parameters"]] = ["of a pruned trial", 7]
    row = comparison(one.study, runs).iloc[2]
    assert "123" not in row["best_hyperparameters"]
    assert (row["student"], row["parameters"]) == (STUDENT, 24_616)


def test_finals_without_a_record_are_named(one):
    assert not any("No record" in note for note in notes(results_of(one)))
    one.runs.loc[one.runs["arm"].eq(f"lp-{STUDENT}"), "test_correct"] = None
    (note,) = [note for note in notes(results_of(one)) if "No record" in note]
    assert "`lp` on" in note
    assert "`kd` on" not in note


# Depth and width searched.


def test_winners_of_other_sizes_are_not_compared(searched_frames):
    frames = searched_frames
    sizes = {one.arm.method: one.winner_label for one in results_of(frames)}
    assert len(set(sizes.values())) == 3
    assert all(one.delta.n == 0 for one in verdicts(results_of(frames)))
    table = comparison(frames.study, frames.runs)
    assert table[["delta_bp_mean", "delta_bp_low", "delta_bp_p_holm"]].isna().all(axis=None)
    rows = rows_of_table(frames)
    for method in ("kd", "lp"):  # both designs in the row
        assert f"not compared: `bp` is `{sizes['bp']}`" in rows[method]
        assert sizes[method] in rows[method]
        assert "**" not in rows[method]
    text = text_of_answer(frames)
    assert "no method is ranked above another" in text
    assert f"Not compared with back-prop, whose winner is `{sizes['bp']}`: " in text
    assert "Pareto front of accuracy and MACs has" in text
    for size in sizes.values():
        assert f"`{size}`" in text
    for claim in ("is best", "leads", "beats", "Worse", "etter than", "points over"):
        assert claim not in text
    assert figures.difference_to_back_prop(frames.results) is None


def resize(frames, method: str, like: str) -> None:
    """Give an arm's winner the size of another's."""
    runs = frames.runs
    final = runs["kind"].eq("final")
    columns = ["student", "family", "depth", "width", "parameters", "macs"]
    rows_of_arm = runs.index[final & runs["arm"].eq(f"{method}-convnet")]
    of = runs[final & runs["arm"].eq(f"{like}-convnet")].iloc[0]
    for column in columns:
        runs.loc[rows_of_arm, column] = of[column]


def test_winners_of_one_size_are_compared(searched_frames):
    frames = searched_frames
    resize(frames, "kd", "bp")
    verdict_of = {one.result.arm.method: one for one in verdicts(results_of(frames))}
    assert (verdict_of["kd"].delta.n, verdict_of["lp"].delta.n) == (3, 0)
    assert verdict_of["lp"].differs_in_size
    assert not verdict_of["kd"].differs_in_size
    text = text_of_answer(frames)
    assert "no method is ranked above another" in text
    assert "Not compared with back-prop" in text
    assert "`lp`, of different designs" in text
    assert "`kd` (" in text  # against back-prop, at its size


def test_equal_names_with_other_macs_are_other_sizes(searched_frames):
    frames = searched_frames
    resize(frames, "kd", "bp")
    rows_of_arm = frames.runs["arm"].eq("kd-convnet") & frames.runs["kind"].eq("final")
    frames.runs.loc[rows_of_arm, "macs"] = frames.runs.loc[rows_of_arm, "macs"] + 1
    assert all(one.delta.n == 0 for one in verdicts(results_of(frames)))


def test_winners_that_all_have_one_size_are_ranked(searched_frames):
    frames = searched_frames
    for method in ("kd", "lp"):
        resize(frames, method, "bp")
    text = text_of_answer(frames)
    assert "no method is ranked" not in text
    assert "Not compared" not in text


def test_several_searched_students_say_that_sizes_differ(searched_frames):
    other = tuple(
        replace(arm, name=f"{arm.method}-wrn", student="wrn", run_id=f"arm-{arm.method}-wrn")
        for arm in searched_frames.study.arms
    )
    runs = searched_frames.runs.copy()
    runs["arm"] = runs["arm"].str.replace("convnet", "wrn")
    frames = replace(
        searched_frames,
        study=replace(searched_frames.study, arms=(*searched_frames.study.arms, *other)),
        runs=pd.concat([searched_frames.runs, runs], ignore_index=True),
    )
    first, *each = answer_paragraphs(frames.study.teacher, results_of(frames))
    assert "the winners are of different sizes" in first
    assert len(each) == 2

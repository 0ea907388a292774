from answers import answer_paragraphs

from lpstudy.tables.arms import arm_results


def answered(frames) -> list[str]:
    return answer_paragraphs(frames.study.teacher, arm_results(frames.study, frames.runs))


def set_differences(frames, name: str, differences: list[float]) -> None:
    """Set the arm's test accuracies to back-prop's of the same seeds plus the differences."""
    runs = frames.runs
    final = runs["kind"].eq("final")
    base = runs[final & runs["arm"].eq(f"bp-{name.split('-', 1)[1]}")].set_index("seed")["test_accuracy"]
    for seed, difference in enumerate(differences):
        runs.loc[final & runs["arm"].eq(name) & runs["seed"].eq(seed), "test_accuracy"] = (
            base[seed] + difference
        )
    runs.loc[final & runs["arm"].eq(name), "test_correct"] = None


def test_gain_whose_interval_excludes_zero_is_stated_as_one(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, 1.2, 0.8, 1.1, 0.9])
    set_differences(one, "lp-convnet-d4-w8", [0.5, -0.5, 0.3, -0.3, 0.1])
    [text] = answered(one)
    assert "**`kd` is best**" in text
    assert "**+1.00 ± 0.24 points over plain back-prop** (95 % interval, paired over 5 seeds)" in text
    # Five of five: Clopper and Pearson's lower bound is 0.025 ** (1 / 5).
    assert "; ahead with 5 of 5 seeds, P(`kd` > `bp`) 0.48 to 1.00." in text
    assert "Within noise of back-prop: `lp` (+0.02 ± 0.51, detectable from 0.69 points, more than 100" in text
    assert "more than 100 more seeds to decide)." in text


def test_gain_within_its_interval_is_called_noise(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, -0.9, 0.8, -0.6, 0.2])
    set_differences(one, "lp-convnet-d4-w8", [-1.0, -1.1, -0.9, -1.2, -0.8])
    [text] = answered(one)
    assert "**within noise**" in text
    assert "is best" not in text
    assert "Worse: `lp` (−1.00 ± 0.24)." in text


def test_back_prop_on_top_is_said_plainly(one):
    for name in ("kd-convnet-d4-w8", "lp-convnet-d4-w8"):
        set_differences(one, name, [-0.1, 0.05, -0.2, 0.02, -0.1])
    [text] = answered(one)
    assert "**no method beats plain back-prop**" in text


def test_lead_over_the_next_method_is_judged_too(one):
    set_differences(one, "kd-convnet-d4-w8", [1.0, 1.2, 0.8, 1.1, 0.9])
    set_differences(one, "lp-convnet-d4-w8", [1.2, 0.9, 0.9, 1.0, 0.8])
    [text] = answered(one)
    assert "**`kd` leads**" in text
    assert "Its lead over `lp`" in text
    assert "is within noise" in text


def test_several_students_are_summed_first(frames, make_frames):
    first, *each = answered(frames)
    assert len(each) == 2
    assert first.startswith("Over 2 students, **better than plain back-prop beyond noise**")
    for arm in frames.study.arms:
        if arm.method != "bp":
            set_differences(frames, arm.name, [0.5, -0.5, 0.3, -0.3, 0.1])
    assert "No method is better than plain back-prop beyond noise" in answered(frames)[0]

import re
from pathlib import Path

from commands import call, files, write_study

from lpstudy import plan


def test_a_plan_names_arms_sizes_runs_and_time_and_leaves_nothing(tmp_path: Path) -> None:
    result = call(plan.main, tmp_path, "smoke")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "smoke: digits, 100 train, 239 validation, 599 test"
    rows = [line.split() for line in lines if "convnet-d2-w8" in line]
    assert [row[0].partition("-")[0] for row in rows] == ["bp", "kd", "fitnet", "lp", "lp_kd"]
    # Convolutions of 1 -> 8 and 8 -> 16 channels with BN, and a linear layer of 16 -> 10.
    parameters = (9 * 8 + 2 * 8) + (9 * 8 * 16 + 2 * 16) + (16 * 10 + 10)
    assert all(row[2] == f"{parameters:,}" for row in rows)
    assert "5 arms x (1 trials + 1 finals) = 10 runs of 2 epochs" in result.out
    time = r"\d+ (?:s|min)"
    parts = ", ".join(
        f"{name} {time}"
        for name in ("starting", "teacher", "teacher's outputs", "trials", "candidates", "finals", "report")
    )
    total = rf"^about {time} without pruning and with a new teacher: {parts}$"
    assert re.search(total, result.out, re.MULTILINE)
    assert files(tmp_path) == []


def test_an_untimed_plan_names_arms_and_sizes_alone(tmp_path: Path) -> None:
    timed, untimed = (call(plan.main, tmp_path, "smoke", *words) for words in ((), ("--untimed",)))
    assert untimed.code == 0, untimed.err
    assert "about" not in untimed.out
    arms = [
        [line.split() for line in one.out.splitlines() if line.startswith("kd-")] for one in (timed, untimed)
    ]
    assert arms[0][0][:5] == arms[1][0][:5]
    assert arms[1][0][5:] == ["–"]


def test_a_plan_says_what_the_bank_holds(tmp_path: Path) -> None:
    out = call(plan.main, tmp_path, "smoke").out
    # Halves of 10 logits, 64 features and a map of 32 x 4 x 4, of 100 samples in 2 views.
    bank_bytes = 2 * (10 + 64 + 32 * 4 * 4) * 100 * 2
    assert f"logits, embedding, map.conv2 stored, {bank_bytes / 1e3:.0f} kB in fp16; 2 of 9 views" in out
    assert "warning: data: validation has more labels (239) than training (100)" in out


def test_the_infeasible_share_is_counted_over_all_sizes(tmp_path: Path) -> None:
    sizes = "depth = { low = 2, high = 3 }\nwidth = { choices = [2, 4, 8, 16] }\n"
    sizes += "\n[constraints]\nmax_macs = 10000\n"
    write_study(tmp_path, ("depth = 2\nwidth = 2\n", sizes))
    result = call(plan.main, tmp_path, "tiny.toml", "--trials", "3", "--seeds", "2", "--concurrent", "1")
    row = next(line for line in result.out.splitlines() if line.startswith("bp-convnet"))
    # 3 x 3 convolutions with `same` padding on 8 x 8, half as large after each doubling of the channels:
    # width 4 has 6,992 and 11,680 MACs, width 8 has 23,200 at the least; so 3 of 8 sizes are within 10,000.
    assert "62%" in row.split()
    finals = "2 finals, up to 6 where sizes are searched"  # of three designs
    assert f"1 arms x (3 trials + {finals}) = 9 runs of 2 epochs, 1 at once" in result.out
    assert "note:" not in result.out


def test_trials_beyond_the_points_of_an_arm_are_left_out_and_said(tmp_path: Path) -> None:
    write_study(tmp_path, ("learning_rate = { low = 1e-3, high = 1e-1, log = true }", "learning_rate = 0.01"))
    out = call(plan.main, tmp_path, "tiny.toml", "--trials", "3", "--seeds", "2").out
    assert "1 arms x (3 trials + 2 finals) = 3 runs of 2 epochs" in out
    assert "note: bp-convnet-d2-w2: its search space has one point, tried once; of 3 trials 2 would" in out


def test_more_epochs_take_longer(tmp_path: Path) -> None:
    write_study(tmp_path)
    short = call(plan.main, tmp_path, "tiny.toml", "--epochs", "1")
    long = call(plan.main, tmp_path, "tiny.toml", "--epochs", "1000000")
    assert re.search(r"about \d+ (s|min) without", short.out)
    assert re.search(r"about [\d.]+ (h|days|min) without", long.out)

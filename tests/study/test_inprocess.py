"""A whole study in one process: no Ray, and the same words, pauses and ends as with it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import (
    CommandResult,
    call,
    environment,
    error_line,
    records,
    start,
    wait_for,
    wait_for_exit,
    write_study,
)

from lpstudy import operate, report, status, sweep
from lpstudy.correctness import first_line, shifted_records, unpack
from lpstudy.data import DataSpec, load
from lpstudy.methods.bp import BP

EPOCHS = 800
LONG = ("epochs = 2\n", f"epochs = {EPOCHS}\n")
OFTEN = ("checkpoint_seconds = 0.0", "checkpoint_seconds = 0.2")
FIXED = ("learning_rate = { low = 1e-3, high = 1e-1, log = true }", "learning_rate = 0.01")


def run_tiny(folder: Path, *args: str) -> CommandResult:
    return call(sweep.main, folder, "tiny.toml", "--in-process", *args)


def checkpoint(folder: Path) -> list[Path]:
    """Checkpoints after at least ten epochs."""
    return list((folder / "studies/tiny/runs").glob("*/*/checkpoint-*[1-9]?.json"))


def test_ray_is_not_even_imported(tmp_path: Path) -> None:
    write_study(tmp_path)
    program = (
        "import sys; from lpstudy import sweep; code = sweep.main(sys.argv[1:]); print('ray' in sys.modules)"
    )
    command = [sys.executable, "-c", f"{program}; sys.exit(code)", "tiny.toml", "--in-process"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("--workers-per-trial 2", "--workers-per-trial 2: with --in-process it must be 1"),
        ("--concurrent 2", "--concurrent 2: with --in-process it must be 1"),
        ("--gpus-per-trial 0.5", "--gpus-per-trial 0.5: with --in-process it must be 0 or 1"),
    ],
)
def test_more_than_one_process_is_refused(args: str, says: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    result = run_tiny(tmp_path, *args.split())
    assert result.code == 2
    assert says in error_line(result)
    assert not (tmp_path / "studies/tiny").exists()


def test_finals_are_measured_on_corrupted_images_and_the_report_is_written_again(tmp_path: Path) -> None:
    images, labels = digits_test_set()
    (tmp_path / "c").mkdir()
    np.save(tmp_path / "c/fog.npy", np.concatenate([images[..., None]] * 4 + [0 * images[..., None]]))
    np.save(tmp_path / "c/labels.npy", np.tile(labels, 5))
    parts = {
        f"{part}_{what}": array
        for part in ("train", "test")
        for what, array in (("images", images[::-1]), ("labels", labels[::-1]))
    }
    np.savez(tmp_path / "mirror.npz", **parts)
    shift = """[shift]
corruptions = ["noise", "jpeg"]
severities = [2, 5]
cifar_c = "c"

[[shift.data]]
name = "mirror"
kind = "npz"
root = "mirror.npz"

[budget]"""
    write_study(tmp_path, ("[budget]", shift))
    assert run_tiny(tmp_path).code == 0
    folder = tmp_path / "reports/tiny"
    names = ("report.md", "shift.csv", "comparison.csv", "trials.csv")
    before = {name: (folder / name).read_bytes() for name in names}
    header = before["trials.csv"].decode().splitlines()[0]
    corruptions = ("noise_2", "noise_5", "jpeg_2", "jpeg_5", "cifar_c/fog_2", "cifar_c/fog_5", "data/mirror")
    assert [name for name in header.split(",") if name.startswith("shift_")] == [
        f"shift_{name}" for name in corruptions
    ]
    for words in (b"hashes of shifted images | noise ", b", cifar\\_c/fog ", b", data/mirror "):
        assert words in before["report.md"]
    *_, final = records(tmp_path, "tiny")
    assert final.last["shift_cifar_c/fog_2"] == final.last["test_accuracy"] == final.last["shift_data/mirror"]
    lines = shifted_records(final.test_correct)
    assert [*lines] == [*corruptions]
    assert lines["cifar_c/fog_2"] == first_line(final.test_correct)
    assert np.array_equal(unpack(lines["data/mirror"]), unpack(final.test_correct)[::-1])
    for name, line in lines.items():
        assert 100 * unpack(line).mean() == pytest.approx(final.last[f"shift_{name}"])
    table = pd.read_csv(folder / "shift.csv").set_index(["method", "corruption", "severity"])
    clean = pd.read_csv(folder / "comparison.csv").set_index("method")["accuracy_mean"]
    for method in ("teacher", "bp"):
        assert table.loc[(method, "cifar_c/fog", 2), "accuracy_mean"] == pytest.approx(clean[method])
    assert call(report.main, tmp_path, "tiny").code == 0
    assert {name: (folder / name).read_bytes() for name in names} == before
    again = run_tiny(tmp_path)
    assert again.code == 0, again.err
    (tmp_path / "c/labels.npy").unlink()
    refused = run_tiny(tmp_path, "--fresh")
    assert refused.code == 2
    assert "shift.cifar_c: labels.npy: " in error_line(refused)


def digits_test_set() -> tuple[np.ndarray, np.ndarray]:
    """The test images of `digits`, shape (n, 8, 8), and their classes."""
    data = load(DataSpec(kind="digits"))
    (images,) = data.test.pixels.read([torch.arange(len(data.test))])
    return images.numpy()[:, 0], data.test.labels.numpy()


def test_ctrl_c_pauses_and_the_same_command_loses_nothing(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN)
    process = start(tmp_path, "sweep", "tiny.toml", "--in-process")
    wait_for(lambda: checkpoint(tmp_path) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    result = wait_for_exit(process)
    assert result.code == 130, result.err
    assert result.err.splitlines()[-1] == "lpstudy sweep: interrupted; run the same command to resume"
    (trial,) = records(tmp_path, "tiny")
    assert (trial.state, trial.assignment.attempt) == ("running", 1)
    again = run_tiny(tmp_path)
    assert again.code == 0, again.err
    trial_again, final = records(tmp_path, "tiny")
    assert trial_again.epochs[: len(trial.epochs)] == trial.epochs
    assert [epoch.epoch for epoch in trial_again.epochs] == list(range(1, EPOCHS + 1))
    assert (trial_again.assignment.attempt, final.state) == (2, "finished")


def test_a_pause_from_another_shell_waits_and_resume_resumes(tmp_path: Path) -> None:
    def send(command: operate.Command) -> None:
        answer = call(lambda args: operate.main(args, command), tmp_path, "tiny", "--json")
        assert json.loads(answer.out)["heard"], answer

    def shown() -> dict[str, object]:
        found: dict[str, object] = json.loads(call(status.main, tmp_path, "tiny", "--json").out)
        return found

    write_study(tmp_path, LONG, FIXED, OFTEN)
    process = start(tmp_path, "sweep", "tiny.toml", "--in-process")
    wait_for(lambda: checkpoint(tmp_path) or process.poll() is not None)
    send("pause")
    wait_for(lambda: shown()["state"] == "pausing")
    send("resume")
    result = wait_for_exit(process)
    assert result.code == 0, result.err
    assert "paused by lpstudy pause; resume with `lpstudy resume tiny`" in result.err
    assert {(r.state, len(r.epochs)) for r in records(tmp_path, "tiny")} == {("finished", EPOCHS)}


def test_an_error_in_a_loss_fails_the_run_and_shows_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: BP, step: object) -> None:
        raise KeyError("no such layer")

    write_study(tmp_path)
    monkeypatch.setattr(BP, "loss", broken)
    result = run_tiny(tmp_path)
    (trial,) = records(tmp_path, "tiny")
    assert (trial.state, trial.cause) == ("failed", "KeyError: 'no such layer'")
    assert result.code == 1
    assert "raise KeyError" in result.err  # the line of the loss


def test_a_debugger_stops_in_a_loss(tmp_path: Path) -> None:
    write_study(tmp_path)
    program = (
        "import sys; from lpstudy import sweep; from lpstudy.methods.bp import BP; loss = BP.loss\n"
        "def stopping(self, step):\n    breakpoint()\n    return loss(self, step)\n"
        "BP.loss = stopping; sys.exit(sweep.main(['tiny.toml', '--in-process', '--trials', '1']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="p len(step.labels)\nq\n",
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "(Pdb) 50" in done.stdout, done.stderr
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "lpstudy sweep: interrupted; run the same command to resume"

"""Bad input: exit code 2, one line that says what, where and what is allowed, and nothing is started."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import ray
from commands import CommandResult, call, error_line, files, free_port, run, write_study

from lpstudy import plan, report, status, sweep
from lpstudy.command.study_session import StudySession
from lpstudy.folder import LocalFolder

Main = Callable[[Sequence[str]], int]


def refused(result: CommandResult, *words: str) -> str:
    assert result.code == 2, result
    line = error_line(result)
    for word in words:
        assert word in line, line
    assert not ray.is_initialized()
    return line


BUDGET, RATE = "trials = 1", "learning_rate = { low = 1e-3, high = 1e-1, log = true }"
SPACES = {
    "malformed TOML": ([(BUDGET, "trials = = 1")], ["tiny.toml", "line "]),
    "unknown section": ([("[budget]", "[budgets]")], ["budgets: unknown key", "budget"]),
    "unknown key": ([(BUDGET, "trails = 1")], ["budget.trails: unknown key", "trials"]),
    "unknown hyperparameter": (
        [("[methods.bp]", "[methods.kd]\ntau = 4")],
        ["methods", "tau", "temperature"],
    ),
    "unknown method": ([("[methods.bp]", "[methods.magic]")], ["magic: unknown method", "fitnet"]),
    "value out of range": ([("high = 1e-1", "high = 11.0")], ["learning_rate", "11", "10"]),
    "wrong type": ([(BUDGET, 'trials = "many"')], ["budget.trials", "many"]),
    "low above high": ([("low = 1e-3", "low = 0.5")], ["learning_rate", "low = 0.5", "high = 0.1"]),
    "no trials": ([(BUDGET, "trials = 0")], ["budget.trials", "0"]),
    "no students": ([("[[students]]", "[[pupils]]")], ["students"]),
    "k not below the batch": (
        [("[methods.bp]", "[methods.lp]\nn_neighbors = 50")],
        ["methods.lp.n_neighbors", "batch_size = 50", "got 50"],
    ),
    "WRN depth not 6n+4": (
        [('family = "convnet"\ndepth = 2\nwidth = 2', 'family = "wrn"\ndepth = 12\nwidth = 1')],
        ["6n", "12"],
    ),
    "unknown family": ([('family = "convnet"\ndepth = 2\nwidth = 2', 'family = "vit"')], ["vit", "convnet"]),
    "unknown design": (
        [('family = "convnet"\ndepth = 2\nwidth = 2', 'family = "maxout"\ndesign = "fitnet9"')],
        ["fitnet9", "fitnet1"],
    ),
    "unknown data set": ([('kind = "digits"', 'kind = "svhn"')], ["data.kind", "svhn", "cifar10"]),
    "unknown map": (
        [("[methods.bp]", '[methods.fitnet]\nguided = "conv9"')],
        ["methods.fitnet", "conv9", "conv1"],
    ),
    "nothing within the constraints": (
        [("[budget]", "[constraints]\nmax_macs = 10\n[budget]")],
        ["convnet-d2-w2", "[constraints]", "MACs"],
    ),
    "no such weights": ([("epochs = 1\n", 'weights = "gone.safetensors"\n')], ["[teacher] weights", "gone"]),
    "a name with a path": ([("\n[data]", '\nname = "../tiny"\n[data]')], ["name", "../tiny"]),
}


@pytest.mark.parametrize("case", SPACES)
@pytest.mark.parametrize("main", [sweep.main, plan.main], ids=["sweep", "plan"])
def test_a_bad_space_is_refused(case: str, main: Main, tmp_path: Path) -> None:
    changes, words = SPACES[case]
    write_study(tmp_path, *changes)
    refused(call(main, tmp_path, "tiny.toml"), *words)
    assert files(tmp_path) == ["tiny.toml"]


FLAGS = {
    "--trials 0": ["--trials", "at least 1", "0"],
    "--trials many": ["--trials", "whole number", "many"],
    "--epochs -1": ["--epochs", "at least 1"],
    "--seeds 0": ["--seeds", "at least 1"],
    "--gpus-per-trial lots": ["--gpus-per-trial", "number", "lots"],
    "--gpus-per-trial 512": ["512 GPUs", "CPUs"],
    "--gpus-per-trial 1.5": ["--gpus-per-trial", "at most 1 or a whole number", "1.5"],
    "--gpus-per-trial 0.00001": ["--gpus-per-trial", "0 or at least 0.0001", "1e-05"],
    "--workers-per-trial 2 --gpus-per-trial 0.25": [
        "--gpus-per-trial 0.25",
        "--workers-per-trial 2",
        "share a GPU",
    ],
    "--workers-per-trial 25": ["25 CPUs", "there are"],
    "--workers-per-trial 3": ["--workers-per-trial 3", "batch_size = 50", "divisible"],
    "--concurrent 4096": ["--concurrent 4096", "at most"],
    "--gamma 3": ["--gamma"],
    "--trial 3": ["--trial"],
}


@pytest.mark.parametrize("words", FLAGS)
def test_a_bad_flag_is_refused(words: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    refused(call(sweep.main, tmp_path, "tiny.toml", *words.split()), *FLAGS[words])
    assert files(tmp_path) == ["tiny.toml"]


@pytest.mark.parametrize("words", [words for words in FLAGS if "-per-trial" in words and "." in words])
def test_a_share_that_no_cluster_has_is_refused_before_one_is_joined(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    write_study(tmp_path)
    refused(call(sweep.main, tmp_path, "tiny.toml", *words.split()), *FLAGS[words])


def test_a_training_part_below_one_batch_is_shared_too(tmp_path: Path) -> None:
    # 5 images of each of 10 classes: one batch of 50, which 4 workers cannot share, though they share 100.
    write_study(tmp_path, ("batch_size = 50\nlearning", "batch_size = 100\nlearning"))
    result = call(sweep.main, tmp_path, "tiny.toml", "--workers-per-trial", "4")
    line = refused(result, "--workers-per-trial 4", "100")
    assert "50 training images" in line


@pytest.mark.parametrize(
    ("fraction", "words", "problem"),
    [
        (0.01, (), "labelled_fraction: must give 2 labelled images or more in a batch, but 0.01 of"),
        (
            0.5,
            ("--workers-per-trial", "2"),
            "2 workers cannot share the 25 labelled images",
        ),
    ],
)
def test_a_batch_without_room_for_labelled_images_is_refused(
    fraction: float, words: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    keys = f'labels_per_class = 5\nunlabelled = "rest"\nlabelled_fraction = {fraction}'
    write_study(tmp_path, ("labels_per_class = 5", keys))
    result = call(sweep.main, tmp_path, "tiny.toml", *words)
    assert problem in refused(result)


def test_every_batch_size_of_a_range_is_shared(tmp_path: Path) -> None:
    size = "batch_size = { low = 30, high = 50, step = 5 }\nlearning"
    write_study(tmp_path, ("batch_size = 50\nlearning", size))
    result = call(sweep.main, tmp_path, "tiny.toml", "--workers-per-trial", "2")
    assert "batch_size = 35" in refused(result)


@pytest.mark.parametrize("name", ["nosuch", "", "..", "../digits", "a/b", "nosuch.toml", "studies\nof"])
@pytest.mark.parametrize("main", [sweep.main, plan.main], ids=["sweep", "plan"])
def test_a_study_that_is_not_there_is_refused(name: str, main: Main, tmp_path: Path) -> None:
    line = refused(call(main, tmp_path, name))
    assert ("digits, imagenet, lp_ablation, mnist, smoke" in line) == (name == "nosuch")
    assert files(tmp_path) == []


def test_data_that_is_not_there_is_named_with_its_files(tmp_path: Path) -> None:
    write_study(tmp_path, ('kind = "digits"', 'kind = "image_folder"\nroot = "pictures"'))
    refused(call(sweep.main, tmp_path, "tiny.toml"), "pictures", "train")
    (tmp_path / "empty").mkdir()
    refused(call(sweep.main, tmp_path, "tiny.toml", "--data-root", "empty"), "empty", "train")
    assert files(tmp_path) == ["tiny.toml"]


@pytest.mark.parametrize("flag", ["--storage", "--reports"])
def test_a_folder_that_cannot_be_written_is_refused(flag: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "file").write_text("")
    refused(call(sweep.main, tmp_path, "tiny.toml", flag, "file/below"), "file/below", "cannot write")
    assert files(tmp_path) == ["file", "tiny.toml"]


@pytest.mark.parametrize("main", [sweep.main, plan.main], ids=["sweep", "plan"])
def test_a_cache_that_cannot_be_is_refused(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    monkeypatch.setenv("LPSTUDY_CACHE", "s4://secret@bucket/cache")
    line = refused(call(main, tmp_path, "tiny.toml"), "LPSTUDY_CACHE: s4://", "Protocol not known")
    assert "secret" not in line
    assert files(tmp_path) == ["tiny.toml"]


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_study(tmp_path, ("epochs = 1\n", 'weights = "own.safetensors"\n'))
    (tmp_path / "own.safetensors").write_bytes(b"no weights at all")
    line = refused(call(sweep.main, tmp_path, "tiny.toml"), "own.safetensors")
    assert "[teacher] weights" in line


@pytest.mark.parametrize("main", [sweep.main, report.main], ids=["sweep", "report"])
def test_a_tracking_server_that_is_not_there_is_refused(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    address = f"http://user:secret@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    result = call(main, tmp_path, "tiny.toml")
    line = refused(result, "MLFLOW_TRACKING_URI=http://127.0.0.1:", "start it", "unset")
    assert "secret" not in line
    assert files(tmp_path) == ["tiny.toml"]


def test_a_tracking_server_that_is_silent_is_refused_within_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")  # the default is 20 s, once
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start_time = time.monotonic()
        refused(call(sweep.main, tmp_path, "tiny.toml"), "no tracking server answers")
        assert time.monotonic() - start_time < 30


def test_a_place_that_takes_no_files_of_runs_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    refused(call(sweep.main, tmp_path, "tiny.toml"), f"{tmp_path}/mlruns: cannot be written")
    assert not [name for name in files(tmp_path) if name.endswith("ledger.db")]


def test_a_cluster_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path)
    result = run(tmp_path, "sweep", "tiny.toml", RAY_ADDRESS=f"127.0.0.1:{free_port()}")
    refused(result, "RAY_ADDRESS=127.0.0.1:", "cannot join", "unset")
    assert not [name for name in files(tmp_path) if name.endswith("ledger.db")]


def test_a_study_that_runs_is_refused_before_anything_is_asked_of_it(tmp_path: Path) -> None:
    write_study(tmp_path)
    with StudySession(LocalFolder(tmp_path / "studies/tiny"), None, "tiny", fresh=False).running():
        result = call(sweep.main, tmp_path, "tiny.toml")
    refused(result, "'tiny' is running already", f"host {socket.gethostname()}, pid {os.getpid()}, since 20")
    assert "studies/tiny/runs" not in files(tmp_path)


@pytest.mark.parametrize("name", ["nosuch", "..", "a/b"])
def test_status_and_report_list_what_there_is(name: str, tmp_path: Path) -> None:
    assert "it has none" in refused(call(status.main, tmp_path, name), "has no study")
    assert "it has none" in refused(call(report.main, tmp_path, name), "MLflow has no study")

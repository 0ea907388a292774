"""Studies whose files are elsewhere: a file:// URL on another mount, an fsspec URL, an object store."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import call, client_of, environment, error_line, runs, write_study
from object_store import BUCKET, object_store
from safetensors.torch import save_file

from lpstudy import status, sweep
from lpstudy.folder import folder_at
from lpstudy.ledger import read_ledger
from lpstudy.students import StudentSpec, build


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


@pytest.fixture
def afar(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A URL of fsspec, and the environment variables that it needs."""
    if request.param == "fsspec":
        yield f"local://{tmp_path}/afar", {}
        return
    with object_store() as variables:
        yield f"s3://{BUCKET}/studies", variables


@pytest.mark.parametrize(
    ("afar", "workers"),
    [("fsspec", 1), pytest.param("fsspec", 2, marks=pytest.mark.soak), ("s3", 1)],
    indirect=["afar"],
)
def test_a_study_in_a_store_ends_with_its_weights_there_and_in_mlflow(
    workers: int, afar: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, variables = afar
    write_study(tmp_path)
    words = ["--storage", url, "--ledger", sqlite(tmp_path)]
    words += ["--workers-per-trial", str(workers)] if workers > 1 else ["--in-process"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = call(sweep.main, tmp_path, "tiny.toml", *words)
    assert result.code == 0, result.err
    records = read_ledger(sqlite(tmp_path), "tiny").records()
    assert [record.state for record in records] == ["finished", "finished"]
    study = folder_at(url) / "tiny"
    for record in records:
        run_folder = study / f"runs/{record.assignment.key}"
        assert run_folder.names() == ["model.json", "weights.safetensors"]
        assert not (run_folder / "workers").exists()
    assert study.names() == []
    assert not (study / "tune").exists()
    client = client_of(tmp_path)
    (final,) = (one for one in runs(client, "tiny") if one.data.tags["lpstudy.kind"] == "final")
    artifacts = [artifact.path for artifact in client.list_artifacts(final.info.run_id)]
    assert artifacts == ["model.json", "test_correct.txt", "weights.safetensors"]
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize("afar", ["fsspec", "s3"], indirect=True)
def test_a_cache_in_a_store_serves_a_machine_that_has_nothing_on_its_disk(
    afar: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, variables = afar
    with_weights = ("width = 2", 'width = 2\nweights = "start"')
    write_study(tmp_path, ("[methods.bp]", "[methods.kd]"), with_weights)
    student = build(
        StudentSpec(family="convnet", depth=2, width=2), input_shape=(1, 8, 8), classes=10, seed=7
    )
    (tmp_path / "start").mkdir()
    save_file(student.state_dict(), tmp_path / "start/model.safetensors")
    variables |= {"LPSTUDY_CACHE": f"{url}/cache"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for trials, disk in (("1", "one"), ("2", "other")):
        monkeypatch.setenv("LPSTUDY_LOCAL", str(tmp_path / disk))
        result = call(sweep.main, tmp_path, "tiny.toml", "--trials", trials, "--in-process")
        assert result.code == 0, result.err
        assert ("teacher's outputs: computed" in result.err) == (disk == "one")
        assert len(list((tmp_path / disk).glob("banks/*/logits.fp16"))) == 1
    assert not (tmp_path / "one/teachers").exists()
    digest = hashlib.sha256((tmp_path / "start/model.safetensors").read_bytes()).hexdigest()
    assert (folder_at(f"{url}/cache") / "weights").names() == [f"{digest}.safetensors"]


def test_a_study_at_a_file_url_on_a_second_mount_ends(tmp_path: Path) -> None:
    write_study(tmp_path)
    second = tmp_path / "second"
    second.mkdir()
    sweeping = f"{sys.executable} -m lpstudy.sweep tiny.toml --in-process --storage file://{second}/studies"
    looking = f"find {second} -name '*.safetensors' -o -name ledger.db"
    line = f"mount -t tmpfs none {second} && {sweeping} && {looking}"
    may = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False)
    mounted = ["unshare", "--mount", "sh", "-c", line]
    ran = subprocess.run(
        ["sh", "-c", f"{sweeping} && {looking}"] if may.returncode else mounted,
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    names = sorted(line.removeprefix(f"{second}/studies/tiny/") for line in ran.stdout.splitlines()[-3:])
    assert names[0] == "ledger.db"
    assert [name.rpartition("/")[2] for name in names[1:]] == ["weights.safetensors"] * 2
    assert may.returncode or list(second.iterdir()) == []  # it was the other mount


def test_a_store_without_a_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    write_study(tmp_path)
    for main, words in ((sweep.main, ["tiny.toml"]), (status.main, [])):
        result = call(main, tmp_path, *words, "--storage", f"local://{tmp_path}/afar")
        assert result.code == 2
        assert "give --ledger postgresql://" in error_line(result)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("foo://bucket", "Protocol not known: foo"),
        ("oss://bucket", "ossfs"),
        ("file://elsewhere/x", "must name a path of this machine"),
    ],
)
def test_a_storage_that_cannot_be_is_refused_in_one_line(url: str, says: str, tmp_path: Path) -> None:
    write_study(tmp_path)
    result = call(sweep.main, tmp_path, "tiny.toml", "--storage", url)
    assert result.code == 2
    assert says in error_line(result)


def test_a_storage_that_only_this_process_sees_is_refused_before_the_teacher(tmp_path: Path) -> None:
    write_study(tmp_path)
    words = ["--storage", "memory://studies", "--ledger", sqlite(tmp_path)]
    result = call(sweep.main, tmp_path, "tiny.toml", *words)
    assert result.code == 2
    assert "--storage: all nodes must share memory://studies/tiny, but node " in result.err.splitlines()[-1]

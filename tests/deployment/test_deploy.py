"""`lpstudy deploy` writes a folder whose files are the study's student, or nothing at all."""

import hashlib
import pickletools
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from commands import call, client_of, error_line, files, records
from deployments import Deployed

import lpstudy
from lpstudy import deploy
from lpstudy.command import deployed_folder
from lpstudy.command.deployed_folder import check_target, new_folder
from lpstudy.data import DataSpec, load
from lpstudy.deployment.config import FILES, read_config
from lpstudy.deployment.onnx_file import open_session
from lpstudy.deployment.program_file import load_program


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load(DataSpec(kind="digits", labels_per_class=10, pad=1))
    (images,) = data.test.pixels.read([torch.arange(len(data.test))])
    return images, data.test.labels


def test_has_all_files_and_says_how_each_agrees_with_torch(deployed: Deployed) -> None:
    assert files(deployed.folder) == sorted(FILES)
    config = read_config(deployed.folder).lpstudy
    images, labels = digits()
    logits = lpstudy.load(deployed.folder).logits(images).numpy()
    floats = (images.float() / 255).numpy()
    for name, check in config.files.items():
        if name.endswith(".pt2"):
            own = load_program(deployed.folder / name)(torch.from_numpy(floats)).detach().numpy()
        else:
            (own,) = open_session(deployed.folder / name).run(None, {"images": floats})
        assert check.bytes == (deployed.folder / name).stat().st_size
        assert (check.images, check.same_top1) == (
            len(labels),
            (own.argmax(1) == logits.argmax(1)).sum(),
        )
        assert check.test_accuracy == pytest.approx(100 * (own.argmax(1) == labels.numpy()).mean())
        assert check.largest_difference == pytest.approx(np.abs(own - logits).max(), abs=1e-5)
        if "int8" not in name:
            assert check.largest_difference < 1e-4
            assert check.same_top1 == len(labels)
    assert set(config.files) == {"model.onnx", "model.pt2", "model.int8.onnx"}


def test_the_weights_are_those_of_the_final_that_the_rule_names(deployed: Deployed) -> None:
    origin = read_config(deployed.folder).lpstudy.origin
    finals = [one for one in records(deployed.study, "smoke") if one.assignment.kind == "final"]
    (final,) = (one for one in finals if one.assignment.arm.startswith("kd-"))
    assert (origin.run, origin.seed) == (final.assignment.key, final.assignment.seed)
    ours = lpstudy.load(deployed.folder).model.network.state_dict()
    theirs = lpstudy.load_model(deployed.study / "studies/smoke/runs" / origin.run).network.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_int8_has_quantised_convolutions_and_a_float_normalisation(deployed: Deployed) -> None:
    graph = onnx.load(deployed.folder / "model.int8.onnx").graph
    kinds = [node.op_type for node in graph.node]
    first = kinds.index("Conv")
    assert kinds.count("Conv") == 2
    assert "DequantizeLinear" in kinds[:first]
    assert {"Mul", "Sub"} & {*kinds[: kinds.index("QuantizeLinear")]}
    weights = [
        one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4
    ]
    assert len(weights) == 2


def test_no_file_names_a_folder_of_this_machine_or_is_a_pickle(deployed: Deployed) -> None:
    for path in deployed.folder.iterdir():
        for name, content in contents(path):
            assert b"/tmp/" not in content, name
            assert b"site-packages" not in content, name
            assert not is_pickle(content), name


def contents(path: Path) -> list[tuple[str, bytes]]:
    """A file's content, and that of each member of an archive."""
    found = [(path.name, path.read_bytes())]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found += [(f"{path.name}/{name}", archive.read(name)) for name in archive.namelist()]
    return found


def is_pickle(content: bytes) -> bool:
    try:
        list(pickletools.genops(content))
    except (ValueError, IndexError, UnicodeDecodeError):  # not one
        return False
    return True


def test_is_registered_as_the_version_with_the_alias_best(deployed: Deployed) -> None:
    client = client_of(deployed.study)
    version = client.get_model_version_by_alias("lpstudy.smoke", "best")
    assert f"lpstudy.smoke, version {version.version}, alias best" in deployed.result.out
    run = client.get_run(version.run_id)
    assert run.data.tags["lpstudy.key"] == read_config(deployed.folder).lpstudy.origin.run
    place = Path(version.source)
    assert place.is_relative_to(run.info.artifact_uri)
    for path in deployed.folder.iterdir():
        assert (place / "data/deployed" / path.name).read_bytes() == path.read_bytes()
    for path in (one for one in place.rglob("*") if one.is_file()):
        assert not any(is_pickle(content) for _, content in contents(path)), path
    stored = (place / "MLmodel").read_text()
    assert "loader_module: lpstudy.deployment.pyfunc" in stored
    assert "/tmp/" not in stored


def test_without_the_study_s_folder_mlflow_has_it_and_an_earlier_deployment_is_replaced(
    deployed: Deployed, tmp_path: Path, fast_clock: None
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(deployed.folder, earlier)
    flags = ["smoke", "--method", "bp", "--storage", "elsewhere", "--out", str(earlier)]
    result = call(deploy.main, deployed.study, *flags)
    assert result.code == 0, result.err
    config = read_config(earlier).lpstudy
    assert config.model.method == "bp"
    theirs = lpstudy.load_model(deployed.study / "studies/smoke/runs" / config.origin.run)
    ours = lpstudy.load(earlier).model
    assert ours.description == theirs.description
    for name, tensor in theirs.network.state_dict().items():
        assert torch.equal(ours.network.state_dict()[name], tensor)
    assert not (earlier / "model.int8.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx"])
def test_a_folder_of_something_else_is_refused(deployed: Deployed, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    result = call(deploy.main, deployed.study, "smoke", "--out", str(tmp_path))
    assert result.code == 2
    assert "name another by --out" in error_line(result)
    assert (tmp_path / name).read_text() == "mine"


def test_an_error_leaves_the_earlier_folder(deployed: Deployed, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(deployed.folder, earlier)
    before = {name: hashlib.sha256((earlier / name).read_bytes()).digest() for name in files(earlier)}
    context = new_folder(earlier)
    (context.__enter__() / "config.json").write_text("half")
    assert not context.__exit__(RuntimeError, RuntimeError("power"), None)
    assert before == {name: hashlib.sha256((earlier / name).read_bytes()).digest() for name in files(earlier)}
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]


def test_a_failed_rename_brings_the_earlier_folder_back(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(deployed.folder, earlier)
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(deployed_folder.Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="earlier"), new_folder(earlier) as folder:
        (folder / "config.json").write_text("whole")
    assert files(earlier) == sorted(FILES)


def test_a_link_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        check_target(tmp_path / "link")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["none"], "has no study 'none'; it has smoke; and not from MLflow"),
        (["smoke", "--method", "dkd"], "the study has no method 'dkd'; it has bp, kd, fitnet, lp, lp_kd"),
        (["smoke", "--student", "wrn"], "the study has no student 'wrn'; it has convnet-d2-w8"),
        (["smoke", "--under-macs", "10"], "no arm with a finished final has at most 10 MACs"),
        (["smoke", "--method", "kd", "--seed", "9"], "has no finished final of seed 9; seeds: 1"),
    ],
)
def test_what_cannot_be_deployed_is_told_in_one_line(
    deployed: Deployed, flags: list[str], words: str
) -> None:
    result = call(deploy.main, deployed.study, *flags)
    assert result.code == 2
    assert words in error_line(result)
    assert not (deployed.study / "deployed").exists()


def test_weights_that_are_gone_from_both_are_told_in_one_line(
    deployed: Deployed, tmp_path: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, tmp_path)
    run = read_config(deployed.folder).lpstudy.origin.run
    shutil.copytree(deployed.study / "studies", tmp_path / "studies")
    shutil.rmtree(tmp_path / "studies/smoke/runs" / run)
    result = call(deploy.main, tmp_path, "smoke", "--method", "kd")
    assert result.code == 2
    assert f"the weights of {run} are neither in studies/smoke/runs/{run} nor in MLflow" in error_line(result)


def test_other_data_are_refused(deployed: Deployed, tmp_path: Path) -> None:
    study = tmp_path / "studies/smoke"
    shutil.copytree(deployed.study / "studies/smoke", study)
    ledger = study / "ledger.db"
    content = ledger.read_bytes()
    data = load(DataSpec(kind="digits", labels_per_class=10, pad=1))
    recorded = data.fingerprint[:16].encode()
    assert recorded in content
    ledger.write_bytes(content.replace(recorded, b"0" * 16))
    result = call(deploy.main, tmp_path, "smoke", "--method", "kd")
    assert result.code == 2
    assert "the data at hand are not those of the study" in error_line(result)

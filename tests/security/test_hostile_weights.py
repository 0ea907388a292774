"""Files of torch that hold code, or that cost more than they seem to: one line, and nothing of them runs."""

import io
import time
import zipfile
from pathlib import Path

import pytest
import torch
from malice import FORMS

from lpstudy.data import DataSpec, load
from lpstudy.space import TeacherSpec
from lpstudy.students import read_weights, torch_file
from lpstudy.teacher import check_teacher

TEACHER = {"family": "convnet", "depth": 2, "width": 4}


def _refused(path: Path) -> str:
    started = time.process_time()
    with pytest.raises(ValueError, match=r"w\.pth") as caught:
        read_weights(path)
    assert time.process_time() - started < 10
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 900
    return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.pth"


def _archive(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(f"archive/{name}", content)


def _entries(content: object) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name.removeprefix("archive/"): archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("form", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["w.pth", "w.bin", "latest", "w.safetensors"])
def test_code_in_a_teacher_s_weights_does_not_run(form: str, name: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / name).write_bytes(FORMS[form](marker))
    spec = TeacherSpec.model_validate(TEACHER | {"weights": str(tmp_path / name)})

    with pytest.raises(ValueError, match=r"\[teacher\] weights: ") as caught:
        check_teacher(spec, load(DataSpec(kind="digits", labels_per_class=10)))

    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_an_old_file_with_code_does_not_run(path: Path, tmp_path: Path) -> None:
    from malice import Malicious

    torch.save({"model": Malicious(tmp_path / "marker")}, path, _use_new_zipfile_serialization=False)

    assert "beside tensors, and reading it may run code" in _refused(path)
    assert not (tmp_path / "marker").exists()


def test_a_compressed_archive_is_refused_before_it_is_unpacked(path: Path) -> None:
    _archive(path, _entries({"a": torch.zeros(10_000_000)}), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000

    assert "is compressed" in _refused(path)


def test_sizes_beyond_the_file_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in _entries({"a": torch.zeros(8)}).items():
            archive.writestr(f"archive/{name}", content)
        archive.filelist[-1].file_size = archive.filelist[-1].compress_size = 1 << 31

    assert "more bytes than it has" in _refused(path)


def test_a_pickle_of_many_megabytes_is_refused(path: Path) -> None:
    entries = _entries({"a": torch.zeros(8)})
    entries["data.pkl"] = entries["data.pkl"][:2] + b"N0" * 5_000_000 + entries["data.pkl"][2:]
    _archive(path, entries)

    assert "describes its tensors in more than 8,388,608 bytes" in _refused(path)


def test_an_old_file_of_endless_instructions_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "MOST_READS", 10_000)
    torch.save({"a": torch.zeros(8)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    read_weights(path)
    path.write_bytes(content[:2] + b")" * 10_000 + content[2:])

    assert "it takes more than 10,000 reads" in _refused(path)


@pytest.mark.parametrize(
    "value",
    [torch.zeros(1).expand(10**6, 10**6), torch.eye(3).to_sparse(), torch.empty(3, device="meta")],
    ids=["one value repeated", "sparse", "without values"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_all_their_values_are_refused(value: torch.Tensor, path: Path) -> None:
    torch.save({"model": {"a\x1b[2J": value}}, path)

    assert "no plain tensor with all its values" in _refused(path)


@pytest.mark.parametrize("byte", [b"J\x00\x00\x10\x00", b"J\x00\x00\x00\xf0"], ids=["larger", "negative"])
@pytest.mark.parametrize("old", [False, True])
def test_a_tensor_of_more_values_than_are_stored_is_refused(byte: bytes, old: bool, path: Path) -> None:
    torch.save({"a": torch.arange(4.0)}, path, _use_new_zipfile_serialization=not old)
    entries = {"": path.read_bytes()} if old else _entries({"a": torch.arange(4.0)})
    key = "" if old else "data.pkl"
    start = entries[key].index(b"K\x04", entries[key].index(b"cpu"))
    forged = entries[key][:start] + byte + entries[key][start + 2 :]
    entries[key] = forged.replace(b"K\x04\x85", byte + b"\x85", 1)
    if old:
        path.write_bytes(entries[""])
    else:
        _archive(path, entries)

    assert "damaged" in _refused(path)


def test_a_program_of_torchscript_is_refused(path: Path) -> None:
    _archive(path, _entries({"a": torch.zeros(2)}) | {"constants.pkl": b"\x80\x02)."})

    assert "is TorchScript, which is code" in _refused(path)


def test_a_mapping_within_itself_ends(path: Path) -> None:
    checkpoint: dict[str, object] = {"a\x1b[2J": 1}
    checkpoint["model"] = checkpoint
    torch.save(checkpoint, path)

    assert "has no tensors by name" in _refused(path)


@pytest.mark.parametrize("length", [4, 100, 1000])
def test_a_truncated_file_is_refused(length: int, path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:length])

    assert "damaged" in _refused(path)

"""An archive of a data set is unpacked only with the right checksum, and only into its own folder."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from torchvision import datasets

from lpstudy.data import DataSpec, load

ARCHIVE = "cifar-10-python.tar.gz"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Set a proxy that does not exist, so that downloads fail."""
    del cache
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o6777
    info.size = 5 if kind == tarfile.REGTYPE else 0
    return info


def packed(path: Path, *members: tarfile.TarInfo) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for one in members:
            archive.addfile(one, io.BytesIO(b"evil\n"[: one.size]))


def accept(path: Path, patch: pytest.MonkeyPatch) -> None:
    """Make torchvision accept the archive's checksum."""
    patch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())


def outside(folder: Path) -> list[str]:
    """The files beside the data's folder."""
    names = ("root", "cache")
    return [path.name for path in folder.iterdir() if path.name not in names]


HOSTILE = {
    "dots": [member("../evil")],
    "dots within": [member("cifar-10-batches-py/../../evil")],
    "link out": [member("out", tarfile.SYMTYPE, ".."), member("out/evil")],
    "absolute link": [member("out", tarfile.SYMTYPE, "/tmp"), member("out/evil")],
    "hard link out": [member("out", tarfile.LNKTYPE, "../secret")],
    "device": [member("zero", tarfile.CHRTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_leads_out_of_the_folder_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    packed(root / ARCHIVE, *HOSTILE[case])
    accept(root / ARCHIVE, monkeypatch)
    with pytest.raises(ValueError, match=r"the archive of cifar10 in '.*root' cannot be unpacked: ") as error:
        load(DataSpec(kind="cifar10", root=root))
    assert str(error.value).isprintable()
    assert outside(tmp_path) == []


def test_an_absolute_name_stays_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    packed(root / ARCHIVE, member(str(tmp_path / "evil")))
    accept(root / ARCHIVE, monkeypatch)
    with pytest.raises(FileNotFoundError, match="cifar10 is not in"):
        load(DataSpec(kind="cifar10", root=root))
    assert outside(tmp_path) == []


@pytest.mark.parametrize("end", [10, 60, -4])
def test_an_archive_that_is_cut_off_is_one_line(
    end: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    packed(root / ARCHIVE, member("cifar-10-batches-py/data_batch_1"))
    (root / ARCHIVE).write_bytes((root / ARCHIVE).read_bytes()[:end])
    accept(root / ARCHIVE, monkeypatch)
    with pytest.raises((ValueError, FileNotFoundError), match="cifar10") as error:
        load(DataSpec(kind="cifar10", root=root))
    assert str(error.value).isprintable()


def test_an_archive_with_another_checksum_is_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    packed(root / ARCHIVE, member("cifar-10-batches-py/data_batch_1"))
    with pytest.raises(FileNotFoundError, match=r"cifar10 is not in .* could not be downloaded"):
        load(DataSpec(kind="cifar10", root=root))
    assert not (root / "cifar-10-batches-py").exists()

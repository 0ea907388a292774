"""A hostile shard runs nothing, leads nowhere, and takes neither the memory nor the disk."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_forms import png

from lpstudy.data import Data, DataSpec, load

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)


def write(path: Path, *extra: tarfile.TarInfo, rename: Callable[[str], str] = str) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for info in extra:
            archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
        for row, image in enumerate(IMAGES):
            for suffix, content in (("png", png(image)), ("cls", str(row % 2).encode())):
                info = tarfile.TarInfo(rename(f"{row:03}.{suffix}"))
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def loaded(root: Path | str) -> Data:
    return load(DataSpec.model_validate({"kind": "webdataset", "root": root}))


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "prefix",
    ["../../", "/", "/etc/", "a\n|<b>`$(touch x)/", "\x1b[2J/", "x" * 3000 + "/", "\u202e/", "a b/;rm/"],
)
def test_a_members_name_is_only_data(prefix: str, tmp_path: Path) -> None:
    write(tmp_path / "root" / "train-0.tar", rename=lambda name: prefix + name)
    assert loaded(tmp_path / "root").classes == 2
    assert beside(tmp_path) == ["root"]
    assert beside(tmp_path / "root") == ["train-0.tar"]


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("900.png")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "info",
    [
        link(tarfile.SYMTYPE, "/etc/passwd"),
        link(tarfile.LNKTYPE, "../secret"),
        link(tarfile.CHRTYPE, ""),
        link(tarfile.FIFOTYPE, ""),
        link(tarfile.DIRTYPE, ""),
    ],
)
def test_links_devices_and_folders_are_passed_over(info: tarfile.TarInfo, tmp_path: Path) -> None:
    write(tmp_path / "train-0.tar", info)
    data = loaded(tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 8


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-0.tar")
    content = bytearray((tmp_path / "train-0.tar").read_bytes())
    head = tarfile.TarInfo("900.png")
    head.type, head.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(head.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\0", b"00000001000\0"
    block[483:495] = b"77777777777\0"  # 8 GiB of zeros
    block[148:156] = b"        "
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    (tmp_path / "train-0.tar").write_bytes(bytes(block) + bytes(512) + bytes(content))
    with pytest.raises(ValueError, match=r"'900.png' is sparse, and so may be a decompression bomb"):
        loaded(tmp_path)


def test_a_member_that_promises_more_than_the_shard_has_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("900.png")
    info.size = 2**34
    (tmp_path / "train-0.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ValueError, match=r"'train-0.tar' is no tar file, or a damaged one: unexpected end"):
        loaded(tmp_path)


def test_a_member_of_negative_size_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("900.png")
    info.size = -512
    (tmp_path / "train-0.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ValueError, match=r"'train-0.tar'"):
        loaded(tmp_path)


@pytest.mark.parametrize("root", ["pipe:touch pwned", "train-0.tar; touch pwned", "pipe:cat {a,b}.tar"])
def test_no_root_is_a_command(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        loaded(root)
    assert str(error.value).isprintable()
    assert beside(tmp_path) == []


@pytest.mark.parametrize("kind", ["parquet", "npz", "webdataset"])
@pytest.mark.parametrize(
    "root", ["s3://me:CANARY@bucket/x", "memory://x/train.tar::http://CANARY", "nothing://CANARY/x"]
)
def test_a_url_that_cannot_be_used_is_one_line_without_credentials(kind: str, root: str) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        load(DataSpec.model_validate({"kind": kind, "root": root}))
    assert str(error.value).isprintable()
    assert "me:CANARY" not in str(error.value)


@pytest.mark.parametrize("kind", ["digits", "image_folder", "imagenet", "mnist"])
def test_other_kinds_are_read_from_a_folder(kind: str) -> None:
    with pytest.raises(ValueError, match=r"\[data\] root: memory://x: must be a folder of this machine"):
        load(DataSpec.model_validate({"kind": kind, "root": "memory://x"}))

"""Errors of the storage are distinguished from all other errors, and name the path."""

import errno
import os
from pathlib import Path

import pytest

from lpstudy.disk import (
    DENIED_ERRNOS,
    FULL_ERRNOS,
    STORAGE_ERRNOS,
    UNREACHABLE_ERRNOS,
    DiskFullError,
    StorageError,
    UnreachableError,
    is_storage_error,
    is_writable,
    storage_error,
    storage_errors_at,
    write_atomically,
)
from lpstudy.folder import LocalFolder
from lpstudy.study.run_end import end_of

NOBODYS = Path("/sys/lpstudy")
"""A path where nobody can create a folder, not even root."""
on_linux = pytest.mark.skipif(not NOBODYS.parent.is_dir(), reason="needs Linux")


@on_linux
@pytest.mark.parametrize(
    "write", [lambda: write_atomically(NOBODYS / "a", b"x"), lambda: LocalFolder(NOBODYS).write("a", b"x")]
)
def test_a_folder_that_cannot_be_written_is_a_storage_error_that_names_it(write: object) -> None:
    with pytest.raises(StorageError, match=f"{NOBODYS}/a: ") as refused:
        write()  # type: ignore[operator]
    assert refused.value.errno in DENIED_ERRNOS
    assert not is_writable(NOBODYS)


@on_linux
def test_a_device_without_room_is_a_full_disk() -> None:
    refused = pytest.raises(DiskFullError, match=r"/dev/full: no room for 5,000 bytes, [\d,]+ are free")
    with refused, storage_errors_at(Path("/dev/full"), 5000), open("/dev/full", "wb") as file:
        file.write(b"x" * 5000)


@pytest.mark.parametrize("number", STORAGE_ERRNOS, ids=lambda number: errno.errorcode[number])
def test_every_error_of_the_list_ends_a_trial_without_failing_it(number: int) -> None:
    raw = OSError(number, os.strerror(number), "/studies/x")
    assert is_storage_error(raw)
    kind = (
        DiskFullError
        if number in FULL_ERRNOS
        else UnreachableError
        if number in UNREACHABLE_ERRNOS
        else StorageError
    )
    assert type(storage_error(raw)) is kind
    end = end_of(raw)
    assert end.is_of_storage
    assert f"/studies/x: {os.strerror(number)}" in end.cause


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone", "x"), OSError("without a number")])
def test_other_errors_are_no_storage(error: OSError) -> None:
    assert not is_storage_error(error)
    with pytest.raises(type(error)):
        end_of(error)


def test_a_file_that_is_missing_is_only_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missed:
        LocalFolder(tmp_path).read("a")
    assert not isinstance(missed.value, StorageError)

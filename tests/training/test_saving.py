"""Writes beside the training: none is lost, none is silent, one at a time."""

import threading
import time

import pytest

from lpstudy.training.saving import BackgroundWriter


def test_all_is_written_at_the_end() -> None:
    writes: list[int] = []

    def slow() -> None:
        time.sleep(0.1)
        writes.append(1)

    with BackgroundWriter() as writer:
        writer.start(slow)
        assert writes == []  # it runs beside
    assert writes == [1]


def test_one_write_at_a_time_in_their_order() -> None:
    lock, writes = threading.Lock(), []

    def write(number: int) -> None:
        assert lock.acquire(blocking=False), "another write is running"
        time.sleep(0.02)
        writes.append(number)
        lock.release()

    with BackgroundWriter() as writer:
        for number in range(5):
            writer.start(lambda number=number: write(number))
            assert len(writes) >= number  # the one before has ended
    assert writes == [0, 1, 2, 3, 4]


def _full() -> None:
    raise OSError(28, "No space left on device")


def test_a_failed_write_is_raised_by_the_next_one() -> None:
    with BackgroundWriter() as writer:
        writer.start(_full)
        with pytest.raises(OSError, match="No space left"):
            writer.start(lambda: None)


def test_a_failed_write_is_raised_by_waiting_and_only_once() -> None:
    with BackgroundWriter() as writer:
        writer.start(_full)
        with pytest.raises(OSError, match="No space left"):
            writer.wait()
        writer.wait()


def test_a_failed_last_write_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="No space left"), BackgroundWriter() as writer:
        writer.start(_full)


def test_an_error_of_the_training_is_raised_once_the_write_is_done() -> None:
    writes: list[int] = []

    def slow() -> None:
        time.sleep(0.1)
        writes.append(1)

    def diverge() -> None:
        with BackgroundWriter() as writer:
            writer.start(slow)
            raise ArithmeticError("diverged")

    with pytest.raises(ArithmeticError, match="diverged"):
        diverge()
    assert writes == [1]

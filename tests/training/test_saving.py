"""Writes beside the training: none is lost, none is silent, one at a time."""

import threading
import time

import pytest

from lpstudy.training.saving import BackgroundWriter


def test_all_is_written_at_the_end() -> None:
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.1)
        done.append(1)

    with BackgroundWriter() as writer:
        writer.start(slow)
        assert done == []  # it runs beside
    assert done == [1]


def test_one_write_at_a_time_in_their_order() -> None:
    lock, done = threading.Lock(), []

    def write(number: int) -> None:
        assert lock.acquire(blocking=False), "another write is running"
        time.sleep(0.02)
        done.append(number)
        lock.release()

    with BackgroundWriter() as writer:
        for number in range(5):
            writer.start(lambda number=number: write(number))
            assert len(done) >= number  # the one before has ended
    assert done == [0, 1, 2, 3, 4]


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
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.1)
        done.append(1)

    def diverge() -> None:
        with BackgroundWriter() as writer:
            writer.start(slow)
            raise ArithmeticError("diverged")

    with pytest.raises(ArithmeticError, match="diverged"):
        diverge()
    assert done == [1]

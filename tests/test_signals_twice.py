"""A signal that arrives twice at the same time counts once."""

import signal
import time

import pytest

from lpstudy.signals import DUPLICATE_SECONDS, debounced


@pytest.mark.parametrize(
    ("later", "received"), [(0.0, 1), (0.9 * DUPLICATE_SECONDS, 1), (1.1 * DUPLICATE_SECONDS, 2)]
)
def test_a_signal_that_comes_again(later: float, received: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    handler = debounced(lambda number, frame: numbers.append(number))
    for now in (0.0, later):
        monkeypatch.setattr(time, "monotonic", lambda now=now: 100.0 + now)
        handler(signal.SIGTERM, None)
    assert numbers == [signal.SIGTERM] * received


def test_whoever_signals_again_and_again_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    handler = debounced(lambda number, frame: numbers.append(number))
    for now in range(10):
        monkeypatch.setattr(time, "monotonic", lambda now=now: 100.0 + 0.5 * DUPLICATE_SECONDS * now)
        handler(signal.SIGINT, None)
    assert len(numbers) == 5


def test_what_the_handler_raises_is_raised_and_then_not_again() -> None:
    handler = debounced(signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGINT, None)
    handler(signal.SIGINT, None)

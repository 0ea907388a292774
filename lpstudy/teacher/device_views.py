"""The bank's views on a GPU: all of them where they take little of it, else one, and the next one fetched."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

SHARE = 0.1
"""Of a GPU's memory that a whole bank may take in a process."""


class DeviceViews:
    """Copies of the bank's views on a device, for all runs of a process and for its threads.

    Args:
        kept: By name, of shape (views, n, ...), in files mapped into memory.
        device: Where the copies are.
        room: Bytes that the whole bank may take there. Where it takes more, views that are no longer read are
            dropped, and `fetch` reads the next one from the files while the device computes.
    """

    def __init__(self, kept: Mapping[str, Tensor], device: torch.device, room: int) -> None:
        self._kept, self._device = kept, device
        self._whole = sum(outputs.nbytes for outputs in kept.values()) <= room
        self._held: dict[tuple[int, str], Tensor] = {}
        self._fetched: dict[tuple[int, str], Future[Tensor]] = {}
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank")

    def view(self, name: str, number: int) -> Tensor:
        """An output's view on the device, of shape (n, ...)."""
        key = (number, name)
        with self._lock:
            if key not in self._held:
                if not self._whole:
                    self._held = {other: held for other, held in self._held.items() if other[0] == number}
                fetched = self._fetched.pop(key, None)
                source = self._kept[name][number] if fetched is None else fetched.result()
                self._held[key] = source.to(self._device, non_blocking=True)
            return self._held[key]

    def fetch(self, number: int) -> None:
        """Begin to read those outputs of a view that are read of the views so far; returns at once."""
        with self._lock:
            wanted = {(number, name) for _, name in self._held} - self._held.keys()
            self._fetched = {key: fetched for key, fetched in self._fetched.items() if key in wanted}
            for key in wanted - self._fetched.keys():
                source = self._kept[key[1]][number]
                # Made here: no other thread may allocate what is pinned while a CUDA graph is recorded.
                pinned = torch.empty_like(source, pin_memory=self._device.type == "cuda")
                self._fetched[key] = self._reader.submit(pinned.copy_, source)


def room_on(device: torch.device) -> int:
    """Bytes of a GPU that a bank may take: a tenth of what the process may hold there and of what is free."""
    free, total = torch.cuda.mem_get_info(device)
    return int(SHARE * min(free, total * torch.cuda.get_per_process_memory_fraction(device)))

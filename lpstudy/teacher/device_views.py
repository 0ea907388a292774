"""The bank's views on a GPU: all of them where they fit, else the current one and a prefetch of the next."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

SHARE = 0.1
"""Largest share of a GPU's memory that a whole bank may take in a process."""


class DeviceViews:
    """Copies of the bank's views on a device, for all runs of a process and for its threads.

    Args:
        banked_outputs: By name, of shape (views, n, ...), in files mapped into memory.
        device: Where the copies are.
        room: Bytes that the whole bank may take there. Where it takes more, earlier views are dropped, and
            `fetch` reads the next one from the files while the device computes.
    """

    def __init__(self, banked_outputs: Mapping[str, Tensor], device: torch.device, room: int) -> None:
        self._banked_outputs, self._device = banked_outputs, device
        self._fits = sum(outputs.nbytes for outputs in banked_outputs.values()) <= room
        self._tensors: dict[tuple[int, str], Tensor] = {}
        self._fetches: dict[tuple[int, str], Future[Tensor]] = {}
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank")

    def view(self, name: str, number: int) -> Tensor:
        """An output's view on the device, of shape (n, ...)."""
        key = (number, name)
        with self._lock:
            if key not in self._tensors:
                if not self._fits:
                    self._tensors = {
                        tensor_key: tensor
                        for tensor_key, tensor in self._tensors.items()
                        if tensor_key[0] == number
                    }
                fetch = self._fetches.pop(key, None)
                source = self._banked_outputs[name][number] if fetch is None else fetch.result()
                self._tensors[key] = source.to(self._device, non_blocking=True)
            return self._tensors[key]

    def fetch(self, number: int) -> None:
        """Start to read a view of the outputs that are in use; return without waiting."""
        with self._lock:
            keys = {(number, name) for _, name in self._tensors} - self._tensors.keys()
            self._fetches = {key: fetch for key, fetch in self._fetches.items() if key in keys}
            for key in keys - self._fetches.keys():
                source = self._banked_outputs[key[1]][number]
                # Allocated here: no other thread may allocate pinned memory while a CUDA graph is recorded.
                pinned = torch.empty_like(source, pin_memory=self._device.type == "cuda")
                self._fetches[key] = self._reader.submit(pinned.copy_, source)


def room_on(device: torch.device) -> int:
    """Bytes of a GPU that a bank may take: a tenth of the process's share and of the free memory."""
    free, total = torch.cuda.mem_get_info(device)
    return int(SHARE * min(free, total * torch.cuda.get_per_process_memory_fraction(device)))

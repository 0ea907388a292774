"""The listening sockets of processes, from the kernel's tables (Linux)."""

import contextlib
import os
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

LISTEN = "0A"
Address = IPv4Address | IPv6Address


def listening(pids: Iterable[int]) -> list[tuple[int, Address, int]]:
    """Process, address and port of each listening TCP socket of some processes."""
    sockets = _listening()
    return sorted(
        ((pid, *sockets[inode]) for pid in pids for inode in _inodes(pid) & sockets.keys()),
        key=lambda one: (one[0], one[2]),
    )


def beyond_loopback(sockets: Iterable[tuple[int, Address, int]]) -> list[tuple[int, str, int]]:
    """The sockets that another machine can reach."""
    return [(pid, str(address), port) for pid, address, port in sockets if not _on_loopback(address)]


def _on_loopback(address: Address) -> bool:
    inner = getattr(address, "ipv4_mapped", None)
    return bool((inner or address).is_loopback)


def _listening() -> dict[str, tuple[Address, int]]:
    """Address and port of each listening socket, by its inode."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTEN:
                host, _, port = words[1].partition(":")
                sockets[words[9]] = (_address(host), int(port, 16))
    return sockets


def _address(digits: str) -> Address:
    """Parse an address in words of 32 bits, each in the machine's byte order."""
    words = (digits[i : i + 8] for i in range(0, len(digits), 8))
    return ip_address(b"".join(int(word, 16).to_bytes(4, "little") for word in words))


def _inodes(pid: int) -> set[str]:
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                kind, _, rest = os.readlink(entry.path).partition(":")
                if kind == "socket":
                    inodes.add(rest.strip("[]"))
    return inodes

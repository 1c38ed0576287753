"""Whether the addresses that the services need are free, and which process has them."""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

# Between the ports of well-known services and those that the kernel gives to outgoing connections, which could take
# one in the moment before its server binds it.
UNASSIGNED = range(10_000, 32_768)
# An empty file. A process locks the byte at the place of each port that it has chosen and perhaps not bound yet; the
# locks end with the process.
CHOSEN = Path(tempfile.gettempdir()) / f"lumni-ports-{os.getuid()}.lock"
_chosen: set[int] = set()


def split(address: str) -> tuple[str, int]:
    """Host and port of host:port or [host]:port.

    Raises:
        ValueError: there is no port number.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address}: expected host:port")
    return host.strip("[]"), int(port)


def free(count: int = 1) -> int:
    """The first of `count` ports in a row on loopback on which nothing listens.

    No other process of this user that asks here gets one of them while this one lives.
    """
    while True:
        first = random.choice(UNASSIGNED[:-count])
        if all(_choose(port) for port in range(first, first + count)):
            return first


@cache
def _locks() -> int:
    # Open as long as the process lives: closing it would end the locks.
    return os.open(CHOSEN, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)


def _choose(port: int) -> bool:
    """Whether a port is this call's alone; if the ports beside it are not, it stays chosen, which wastes it."""
    # Locks of one process do not exclude each other.
    if port in _chosen or not is_free(f"127.0.0.1:{port}"):
        return False
    locks = _locks()
    try:
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        # Another process has it.
        return False
    _chosen.add(port)
    return True


def is_free(address: str) -> bool:
    """Whether a server could listen there now."""
    host, port = split(address)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Servers that share a port can all bind it; only one can listen without sharing.
            probe.listen()
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """The process that listens on a port, as "name (pid 12)"; empty where it cannot be found."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(table, port)}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) in inodes:
                process = link.parents[1]
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            # It has ended, or belongs to someone else.
            continue
    return ""


def _listening(table: str, port: int) -> list[str]:
    try:
        lines = (Path("/proc/net") / table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    # Columns: 1 is the local address in hexadecimal, 3 the state (0A listens), 9 the inode.
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]

"""Why nothing can be listened at an address, and what to do about it."""

import errno
import socket
from pathlib import Path

from services.chassis.config import Mistakes

__all__ = ["mistake", "problem"]

# Of Linux: from which ports the kernel gives one to each connection that begins here, and which of them it keeps back.
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")


def mistake(variable: str, address: str, error: Exception) -> Mistakes:
    """What a service ends with whose `variable` is an address that a server could not bind, failing with `error`."""
    return Mistakes([f"{variable}: {problem(address) or f'{address} cannot be bound: {error}'}"])


def problem(address: str, *, ephemeral: Path = EPHEMERAL, reserved: Path = RESERVED) -> str:
    """What a message says of an address that no server can have for itself now; empty when one can.

    Args:
        address: host:port; of a Unix socket nothing is said.
        ephemeral: The file of the first and the last port that connections of this machine get.
        reserved: The file of those among them that they do not get.
    """
    if address.startswith("unix:"):
        return ""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Servers that share a port notice nobody else there; this one does not share.
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        return f"{address} cannot be bound: {reason}" + (
            _advice(int(port), ephemeral, reserved) if taken else ""
        )
    return ""


def _advice(port: int, ephemeral: Path, reserved: Path) -> str:
    """How to find who has a port, and how to keep it for servers where a connection may have taken it."""
    advice = f"; `ss -tanp 'sport = :{port}'` shows who has it"
    if _may_be_taken_by_connections(port, ephemeral, reserved):
        advice += (
            "; connections that begin on this machine may get this port, unless the host's "
            f"net.ipv4.ip_local_reserved_ports names {port} (docs/operating.md#ports)"
        )
    return advice


def _may_be_taken_by_connections(port: int, ephemeral: Path, reserved: Path) -> bool:
    try:
        first, last = map(int, ephemeral.read_text().split())
        kept = [one.partition("-") for one in reserved.read_text().strip().split(",") if one]
    except OSError:
        # Not Linux, or not to be seen.
        return False
    return first <= port <= last and not any(int(low) <= port <= int(high or low) for low, _, high in kept)

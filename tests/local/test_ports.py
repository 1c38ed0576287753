"""Ports that nobody else has."""

import socket
import subprocess
import sys

import pytest

from services.local import ports


def test_a_chosen_port_is_not_chosen_again_before_it_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free(3)
    monkeypatch.setattr(ports, "_chosen", set())
    # The last one only ends the range.
    monkeypatch.setattr(ports, "UNASSIGNED", range(first, first + 3))

    assert {first, first + 1} == {ports.free(), ports.free()}


def test_another_process_chooses_another_port() -> None:
    first = ports.free()
    # One that nobody asked for.
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = server.getsockname()[1]
    script = """
import sys
from services.local import ports
print(*(ports._choose(int(port)) for port in sys.argv[1:]))
"""

    done = subprocess.run(
        [sys.executable, "-c", script, str(first), str(other)], capture_output=True, text=True, check=True
    )

    assert "False True" == done.stdout.strip()

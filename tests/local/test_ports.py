"""Ports that nobody else has."""

import subprocess
import sys

import pytest

from services.local import ports


def test_a_chosen_port_is_not_chosen_again_before_it_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free(3)
    monkeypatch.setattr(ports, "CHOSEN", ports.CHOSEN / "test")
    ports.CHOSEN.mkdir(exist_ok=True)
    # The last one only ends the range.
    monkeypatch.setattr(ports, "UNASSIGNED", range(first, first + 3))

    assert {first, first + 1} == {ports.free(), ports.free()}


def test_another_process_chooses_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free(2)
    script = f"""
from services.local import ports
ports.UNASSIGNED = range({first - 1}, {first + 1})
ports.is_free = lambda address: True
import signal; signal.alarm(1)
print(ports.free())
"""

    done = subprocess.run(
        [sys.executable, "-c", script.replace(f"{first - 1}", f"{first}", 1)], capture_output=True
    )

    # It looks on until the alarm ends it: the only port is ours.
    assert b"" == done.stdout

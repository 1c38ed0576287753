"""What is said of an address that nobody can listen at."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis import listening, span_export, telemetry
from services.chassis.config import Mistakes


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that a connection has, as one that its client began there."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
    ):
        yield one.getsockname()[1]


def said(tmp_path: Path, port: int, ephemeral: str, reserved: str) -> str:
    """Of a port, where connections get such ports."""
    (tmp_path / "range").write_text(ephemeral)
    (tmp_path / "reserved").write_text(reserved)
    return listening.problem(
        f"127.0.0.1:{port}", ephemeral=tmp_path / "range", reserved=tmp_path / "reserved"
    )


def test_a_free_address_has_no_problem() -> None:
    assert "" == listening.problem("127.0.0.1:0")


def test_a_port_that_a_connection_has_names_who_to_look_for_and_what_keeps_it(
    tmp_path: Path, taken: int
) -> None:
    text = said(tmp_path, taken, "1024\t65535\n", "\n")

    assert text.startswith(f"127.0.0.1:{taken} cannot be bound: Address already in use")
    assert f"`ss -tanp 'sport = :{taken}'`" in text
    assert f"net.ipv4.ip_local_reserved_ports names {taken} (docs/operating.md#ports)" in text


@pytest.mark.parametrize("kept", ["{port}", "1-2,{before}-{port}"])
def test_a_port_that_connections_do_not_get_was_taken_by_a_server(
    tmp_path: Path, taken: int, kept: str
) -> None:
    text = said(tmp_path, taken, "1024 65535", kept.format(port=taken, before=taken - 1))

    assert "ss -tanp" in text
    assert "reserved" not in text
    assert "reserved" not in said(tmp_path, taken, "1 2", "")


@pytest.mark.parametrize("address", ["127.0.0.1:many", "192.0.2.1:80"])
def test_an_address_that_is_none_of_this_machine_is_named(address: str) -> None:
    text = listening.problem(address)

    assert text.startswith(f"{address} cannot be bound: ")
    assert "ss -tanp" not in text


def test_a_taken_address_of_metrics_is_a_mistake_in_its_setting(taken: int) -> None:
    address = f"127.0.0.1:{taken}"
    settings = telemetry.Settings(metrics_listen=address, spans=span_export.Settings())

    with pytest.raises(Mistakes, match=f"LUMNI_METRICS_LISTEN: {address} cannot be bound"):
        with telemetry.running("test", settings):
            raise AssertionError("it runs")

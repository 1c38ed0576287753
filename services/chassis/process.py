"""Runs a service's process: settings, telemetry, event loop, and its exit code."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import uvloop

from services.chassis import background, config, loop_delay, memory, offload, telemetry


class HasTelemetry(Protocol):
    """Settings of a process: whatever it needs, and where its telemetry goes."""

    @property
    def telemetry(self) -> telemetry.Settings:
        """Where logs, spans and metrics go."""


S = TypeVar("S", bound=HasTelemetry)


def read_or_exit(read: Callable[[Mapping[str, str]], S]) -> S:
    """Read the settings; mistakes are printed, all of them, and the process exits with code 2."""
    try:
        return read(config.environment())
    except config.Mistakes as mistakes:
        config.exit_naming(mistakes)


def run(service: str, read: Callable[[Mapping[str, str]], S], main: Callable[[S], Awaitable[None]]) -> None:
    """Read the settings, then log, trace, measure and run until `main` returns.

    Mistakes in the environment or in a file are printed, all of them, and the process exits with code 2.

    Args:
        service: Its name in logs, spans and metrics.
        read: Makes its settings of an environment.
        main: What it does.

    """

    async def body() -> None:
        async with background.beside(loop_delay.measure()), background.beside(memory.trimming()):
            await main(settings)

    memory.give_back()
    offload.take_short_turns()
    found: list[str] = []
    try:
        settings = read(config.environment())
        with telemetry.running(service, settings.telemetry):
            uvloop.run(body())
    # A group when it was raised beside other tasks.
    except* config.Mistakes as mistakes:
        found = _lines(mistakes)
    if found:
        config.exit_naming(config.Mistakes(found))


def _lines(group: BaseExceptionGroup[config.Mistakes]) -> list[str]:
    return [
        line
        for one in group.exceptions
        for line in (one.lines if isinstance(one, config.Mistakes) else _lines(one))
    ]

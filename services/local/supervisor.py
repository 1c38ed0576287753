"""Starts parts in the order of their dependencies, restarts those that end, and stops all."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from services.local.server import Failed, Server

WATCH_S = 0.2
# For how long a server may start, in seconds: minutes where the processors are busy. One that ends is seen at once.
START_S = 600.0
# After running this long, a failure counts as the first one.
STEADY_S = 30.0
LONGEST_PAUSE_S = 30.0

Say = Callable[[str], None]


@dataclass
class Part:
    """A server and the parts that must be ready before it starts; or a step, which runs once."""

    server: Server
    after: tuple[str, ...] = ()
    where: str = ""
    # What to run instead of starting the server and restarting it.
    step: Callable[[], Awaitable[None]] | None = None
    # How long it may take to finish the work it has begun, in seconds.
    drain_s: float = 10.0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    started_at: float = 0.0

    @property
    def name(self) -> str:
        """The server's name."""
        return self.server.name


class Supervisor:
    """All parts of one machine; `parts` is in the order in which they are stopped."""

    def __init__(self, parts: Sequence[Part], say: Say) -> None:
        self._parts = {part.name: part for part in parts}
        self._say = say

    async def start(self) -> None:
        """Start every part as soon as those it depends on are ready, and wait for all.

        Raises:
            Failed: one did not start; the others keep running until `stop`.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._parts.values():
                    group.create_task(self._start(part))
        except* Failed as failures:
            raise failures.exceptions[0] from None

    async def _start(self, part: Part) -> None:
        for name in part.after:
            await self._parts[name].ready.wait()
        began = monotonic()
        if part.step is not None:
            await part.step()
        else:
            await part.server.start(timeout_s=START_S)
            part.started_at = monotonic()
        part.ready.set()
        self._say(
            f"  {part.name:<11}{'done ' if part.step else 'ready'}  {monotonic() - began:5.1f} s  {part.where}"
        )

    async def watch(self) -> None:
        """Start again whatever ends, with longer and longer pauses; runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in self._parts.values():
                if part.step is None:
                    group.create_task(self._keep(part))

    async def _keep(self, part: Part) -> None:
        while True:
            if part.server.pid is not None:
                await asyncio.sleep(WATCH_S)
                continue
            part.failures = 1 if monotonic() - part.started_at > STEADY_S else part.failures + 1
            pause_s = min(LONGEST_PAUSE_S, 0.5 * 2 ** (part.failures - 1))
            self._say(
                f"{part.name} ended with code {part.server.exit_code}; starting it again in {pause_s:g} s. "
                f"Its log, {part.server.log}, ends:{part.server.last_words()}"
            )
            await asyncio.sleep(pause_s)
            part.started_at = monotonic()
            try:
                await part.server.start(timeout_s=60.0)
            except Failed:
                continue
            self._say(f"{part.name} is ready again")

    async def stop(self) -> None:
        """Stop the parts one after the other, each after the work it has begun."""
        for part in self._parts.values():
            await part.server.stop(part.drain_s)

    def kill(self) -> None:
        """End every part at once."""
        for part in self._parts.values():
            part.server.kill()

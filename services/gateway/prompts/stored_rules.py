"""The operator's system prompts that are versions of stored prompts: read when the gateway starts, and every second.

A label that is moved counts a second later. What cannot be read any more stays as it was: requests are answered with
the last good text, and the log says so.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from services.chassis.background import beside
from services.chassis.config import Mistakes
from services.chassis.errors import Fault, Invalid
from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.prompts import library
from services.gateway.prompts.content import Recipe
from services.gateway.prompts.system_prompts import LONGEST, Configured, Rule, Stored

log = logging.getLogger(__name__)

# How long a change takes at most to count for requests, in seconds.
POLL_S = 1.0
# They are for all callers, so they are of prompts that belong to everybody.
EVERYBODY = ""


class StoredRules:
    """Keeps the texts of the operator's system prompts.

    Args:
        pool: Where stored prompts are.
        configured: The section of `lumni.yaml`.

    Attributes:
        texts: All texts, those of stored prompts once they were read.

    """

    def __init__(self, pool: postgres.Pool, configured: Live[Configured]) -> None:
        self._pool = pool
        self._configured = configured.current
        self._rules: dict[str, Rule] = {}
        # The rules that keep their last good text, and why.
        self._failing: Mapping[str, str] = {}
        self.texts = Live(self._configured.written)
        configured.on_change(self._take)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keep up with them until the block ends; it begins when all are read.

        Raises:
            Mistakes: one of them cannot be read; no request is to be answered without it.
        """
        try:
            failures = await self.read()
        except postgres.FAILURES as error:
            failures = dict.fromkeys(self._configured.stored, f"PostgreSQL does not say it: {error}")
        if failures:
            raise Mistakes([f"lumni.yaml: system_prompts: {name}: {why}" for name, why in failures.items()])
        async with beside(self._follow()):
            yield

    async def read(self) -> dict[str, str]:
        """Read them once; of those that cannot be taken the reasons, by the names of the rules.

        Raises:
            postgres.FAILURES: PostgreSQL does not answer.
        """
        configured = self._configured
        if not configured.stored:
            return {}
        failures, found = {}, {}
        async with postgres.connection(self._pool) as connection:
            for name, one in configured.stored.items():
                try:
                    found[name] = _rule(name, await library.read(connection, EVERYBODY, one.reference), one)
                except Fault as fault:
                    failures[name] = fault.message
        # Another section that was taken meanwhile is read next time.
        if configured is self._configured:
            self._rules |= found
            self._put_together()
        return failures

    def _take(self, configured: Configured) -> None:
        """Go by another section from now on; a text of a stored prompt replaces that of before once it was read."""
        before = {rule.name: rule for rule in self.texts.current.rules}
        self._configured = configured
        self._rules = {name: before[name] for name in configured.stored if name in before}
        self._put_together()

    def _put_together(self) -> None:
        texts = self._configured.written
        for rule in self._rules.values():
            texts = texts.with_rule(rule)
        self.texts.replace(texts)

    async def _follow(self) -> None:
        outage = Outage(
            log,
            "the system prompts of the prompt store stay as they are",
            "they are read again",
            pause_s=POLL_S,
        )
        while True:
            await (outage.pause() if outage.active else asyncio.sleep(POLL_S))
            try:
                failures = await self.read()
            except postgres.FAILURES as error:
                outage.begin(error)
                continue
            outage.end()
            self._tell(failures)

    def _tell(self, failures: Mapping[str, str]) -> None:
        """Log once that a rule keeps its last good text, and once that it is read again."""
        for name, why in failures.items():
            if self._failing.get(name) != why:
                rule = self._rules.get(name)
                kept = f"keeps the text of {rule.version or 'before'}" if rule else "has no text"
                log.warning("system_prompts: %s %s: %s", name, kept, why)
        for name in self._failing.keys() & self._rules.keys() - failures.keys():
            log.warning("system_prompts: %s is read again: %s", name, self._rules[name].version)
        self._failing = failures


def _rule(name: str, recipe: Recipe, stored: Stored) -> Rule:
    """What a version says for a rule.

    Raises:
        Invalid: it says something that the system cannot, or a variable is wrong.
    """
    version = f"{recipe.name}@{recipe.version}"
    texts = []
    for message in recipe.render(stored.variables)["messages"]:
        if message["role"] not in ("system", "developer") or not isinstance(message.get("content"), str):
            raise Invalid(
                f"{version}: a system prompt has messages of the system's with a text, and no others"
            )
        texts.append(message["content"])
    text = "\n\n".join(texts).strip()
    if not 0 < len(text) <= LONGEST:
        raise Invalid(f"{version}: expected a text of 1 to {LONGEST} characters, not of {len(text)}")
    return Rule(name, text, version)

"""Messages to a webhook: one when an alert begins to fire, one when it is over, each until it is taken."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import prometheus_client

from services.chassis.outage import Outage

log = logging.getLogger(__name__)

# Longest wait for the webhook, in seconds.
TIMEOUT_S = 5.0
# The formats that a webhook may want.
FORMATS = ("slack", "json")

MESSAGES = prometheus_client.Counter(
    "lumni_alert_messages", "Messages to the alerts' webhook, by whether it took them.", ["taken"]
)


class Messenger:
    """Knows what was told, so that each change is told once, and what was not taken is told again."""

    def __init__(self, client: httpx.AsyncClient, address: str, form: str) -> None:
        """Send through `client` to `address`, which is a secret, in one of `FORMATS`."""
        self._client = client
        self._address = address
        self._form = form
        self._told: set[str] = set()
        self._outage = Outage(
            log, "the alerts' webhook takes no messages", "the alerts' webhook takes messages"
        )

    async def tell(self, firing: Mapping[str, str]) -> None:
        """Tell what has changed; what is not taken stays untold until the next time."""
        for name, text in firing.items():
            if name not in self._told and await self._send(name, "firing", text):
                self._told.add(name)
        for name in sorted(self._told - firing.keys()):
            if await self._send(name, "resolved", "it is over"):
                self._told.discard(name)

    async def _send(self, name: str, state: str, text: str) -> bool:
        try:
            # The client's own timeouts are for each part of a call.
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._client.post(self._address, json=self._message(name, state, text))
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            # Its own text repeats the address, which is a secret.
            self._failed(ConnectionError(f"it answers {error.response.status_code}"))
            return False
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            self._failed(ConnectionError(type(error).__name__))
            return False
        MESSAGES.labels("yes").inc()
        self._outage.end()
        log.info("told that %s is %s", name, state)
        return True

    def _failed(self, why: Exception) -> None:
        MESSAGES.labels("no").inc()
        self._outage.begin(why)

    def _message(self, name: str, state: str, text: str) -> dict[str, Any]:
        runbook = f"docs/monitoring.md#{name.lower()}"
        if self._form == "slack":
            return {"text": f"[{state.upper()}] {name}: {text} ({runbook})"}
        return {
            "alert": name,
            "state": state,
            "summary": text,
            "runbook": runbook,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

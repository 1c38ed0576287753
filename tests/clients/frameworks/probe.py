"""What every framework's probe does: run its checks against a running Lumni, and print what each of them found.

A probe runs in the frameworks' own environment, which knows nothing of Lumni's code.
"""

import asyncio
import json
import os
import traceback
import urllib.request
from collections.abc import Awaitable, Callable

URL = os.environ["LUMNI_URL"]
KEY = os.environ["LUMNI_API_KEY"]
SIMULATOR = os.environ["SIMULATOR_URL"]
# It knows tools, schemas and pictures, and only chats.
MODEL = "large"
QUESTION = "What is the weather in Paris?"
# A picture of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PIXEL}"
# How long one check may take, in seconds.
CHECK_S = 60.0


def fails_once(model: str, behaviour: str) -> None:
    """Let the provider answer the next request for a model in another way, as `tests.simulator.behaviour` says."""
    body = json.dumps({"model": model, "queue": [behaviour]}).encode()
    request = urllib.request.Request(
        f"{SIMULATOR}/sim/script", body, {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def requests(model: str) -> list[dict[str, object]]:
    """The last requests that the provider got for a model, oldest first."""
    with urllib.request.urlopen(f"{SIMULATOR}/sim/requests?last=50", timeout=10) as answer:
        return [one for one in json.load(answer) if one["body"].get("model") == model]


async def raises(kind: type[BaseException], asked: Awaitable[object]) -> BaseException:
    """The error of this class that a call ends with."""
    try:
        await asked
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected, and nothing went wrong")


def main(*checks: Callable[[], Awaitable[None]]) -> None:
    """Run the checks, one after the other; print what went wrong in each, by its name."""
    found: dict[str, str | None] = {}

    async def run() -> None:
        for check in checks:
            try:
                async with asyncio.timeout(CHECK_S):
                    await check()
                found[check.__name__] = None
            except Exception:  # noqa: BLE001 (whatever a framework raises is what is to be reported)
                found[check.__name__] = traceback.format_exc(limit=-6)

    asyncio.run(run())
    # The last line: some frameworks print, too.
    print(f"\n{json.dumps(found)}")

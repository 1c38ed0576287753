"""Run the gateway and the services behind it in one process: python -m services.together."""

import importlib
from contextlib import AsyncExitStack

from services.chassis import rpc, telemetry, workers
from services.gateway.__main__ import serving
from services.together.settings import Inside, read


async def main(settings: Inside) -> None:
    """Serve until asked to stop; then the gateway drains first, and those that it calls after it."""
    inside = rpc.InProcess()
    async with AsyncExitStack() as stack:
        for name, own in settings.behind.items():
            service = importlib.import_module(f"services.{name}.__main__")
            with telemetry.acting_as(name):
                await stack.enter_async_context(service.serving(own, inside))
        await stack.enter_async_context(serving(settings.gateway, inside))
        await rpc.until_stopped()


if __name__ == "__main__":
    workers.run("gateway", read, main)

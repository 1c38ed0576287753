"""Check whether a gRPC server of ours serves: python -m services.chassis.rpc.probe 127.0.0.1:50051.

It exits with 0 when the standard health service says SERVING, else with 1; for container health checks.
"""

import asyncio
import sys

from services.chassis import config, rpc


async def serves(target: str, settings: rpc.Settings, *, timeout_s: float = 5.0) -> bool:
    """Whether the server at a gRPC target says SERVING in time."""
    async with rpc.connect(target, settings, "", repeatable=False) as channel:
        return await rpc.healthy(channel, "", settings, timeout_s=timeout_s)


if __name__ == "__main__":
    sys.exit(not asyncio.run(serves(sys.argv[1], config.from_environ(rpc.Settings, config.environment()))))

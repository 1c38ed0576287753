"""Run the simulator: python -m tests.simulator --port 9000."""

import argparse
import asyncio
import signal
import sys

import uvloop

from tests.simulator.server import listening


async def main(host: str, port: int, keep: int, *, until_stdin_closes: bool) -> None:
    """Serve until a signal, or until the starting process is gone."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    async with listening(host, port, keep) as url:
        print(f"simulator listening on {url}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--keep", type=int, default=1000, help="how many requests to remember")
    parser.add_argument("--until-stdin-closes", action="store_true")
    given = parser.parse_args()
    uvloop.run(main(given.host, given.port, given.keep, until_stdin_closes=given.until_stdin_closes))

"""Run faults at length: python -m tests.faults [--requests 3000] [--fault NAME ...].

Each fault gets a cluster of its own, so many mixed requests, and an audit. The exit code is 1 when a bill is wrong.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.run import EXECUTOR_KILLED, MIXED, NAMES, run


async def main() -> int:
    """Run the chosen faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--fault", action="append", choices=NAMES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--together", action="store_true", help="all services in each gateway's process, instead of apart"
    )
    parser.add_argument(
        "--list", action="store_true", help="also each row whose cost is not the provider's own count"
    )
    given = parser.parse_args()
    wrong = 0
    executors = 0 if given.together else 2
    for name in given.fault or [name for name in NAMES if executors or name != EXECUTOR_KILLED]:
        folder = Path(tempfile.mkdtemp(prefix=f"lumni-{name}-"))
        folder.chmod(0o711)
        began = time.monotonic()
        # Even a short run of mixed faults has each of them.
        a_round = max(1, min(250, given.requests // len(MIXED)))
        load, found = await run(
            folder, name, given.requests, seed=given.seed, executors=executors, a_round=a_round
        )
        took = time.monotonic() - began
        print(
            f"{name}: {given.requests} requests in {took:.0f} s; callers saw {dict(load.endings.most_common())}; "
            f"the provider saw {found.seen}; rows {dict(found.rows)}; settled after {found.settled_after_s:.1f} s"
        )
        for row in found.inexact if given.list else ():
            print(f"  {row}")
        for problem in found.problems:
            wrong += 1
            print(f"  WRONG {problem}")
        if not found.problems:
            print("  every bill is right")
            shutil.rmtree(folder)
        else:
            print(f"  logs: {folder}")
    return 1 if wrong else 0


sys.exit(asyncio.run(main()))

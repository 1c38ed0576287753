"""Run every attack in turn beside five honest clients: python -m tests.attacks [--minutes 30].

Printed are what held, the honest clients' failures and latency, the memory of every process, and whether every bill is
right. The exit code is 1 when anything is not as it should be.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.attacks import clients, mixed


async def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", action="append", help="a script's module, such as greedy_tenant")
    given = parser.parse_args()
    found = mixed.scripts()
    chosen = [one for one in found if not given.only or one.__name__.rpartition(".")[2] in given.only]
    seconds = 60 * given.minutes
    folder = Path(tempfile.mkdtemp(prefix="lumni-attacks-"))
    folder.chmod(0o711)
    print(f"{len(chosen)} scripts: {', '.join(one.NAME for one in chosen)}", flush=True)
    report = await mixed.run(folder, seconds, chosen, alone_s=max(10, seconds / 10), yields=True)
    for name, lines in report.held.items():
        print(f"\n{name}")
        for line in lines:
            print(f"  held: {line}")
    failed = [sum(one.failed for one in some) for some in (report.alone, report.attacked)]
    print("\n| honest clients | requests | failed | p99, ms |\n| --- | --- | --- | --- |")
    print(f"| alone | {len(report.alone)} | {failed[0]} | {clients.p99(report.alone):.0f} |")
    print(f"| beside attacks | {len(report.attacked)} | {failed[1]} | {clients.p99(report.attacked):.0f} |")
    print("\n| process | MiB before | after |\n| --- | --- | --- |")
    for name, (before, after) in report.memory.items():
        print(f"| {name} | {before:.0f} | {after:.0f} |")
    print(f"\nledger: the provider saw {report.bills.seen} requests; rows {dict(report.bills.rows)}")
    problems = [*report.wrong, *report.slow_or_large]
    for problem in problems:
        print(f"WRONG {problem}")
    if problems:
        print(f"logs: {folder}")
        return 1
    print("everything held, and every bill is right")
    shutil.rmtree(folder)
    return 0


sys.exit(asyncio.run(main()))

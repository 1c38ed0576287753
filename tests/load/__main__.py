r"""Run the load: python -m tests.load [name ...], or `make load`.

Each `<service>_<rpc>.json` in this folder is a ghz configuration that also works by itself against `make run`:

    ghz --config tests/load/classifier_classify.json -m "{\"x-lumni-service-token\": \"$LUMNI_SERVICE_TOKEN\"}"

Here they run against services started for them, with the simulator as provider and an empty state folder.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from services.chassis.rpc.settings import TOKEN_KEY
from services.local import ports
from tests import tools
from tests.simulator import spawned

FOLDER = Path(__file__).parent
START_S = 180
RUN_S = 300
SERVICES = ("gateway", "classifier", "selector", "executor")


def configurations(names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The ghz configurations by name: all, or those whose names begin with one of the given."""
    return {
        path.stem: json.loads(path.read_text())
        for path in sorted(FOLDER.glob("*.json"))
        if not names or path.stem.startswith(tuple(names))
    }


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lumni-load-") as name:
        folder = Path(name)
        # PostgreSQL does not run as root, and must get through.
        folder.chmod(0o711)
        yield folder


@asynccontextmanager
async def lumni(provider: str, state: Path) -> AsyncIterator[tuple[dict[str, str], dict[str, str]]]:
    """A whole Lumni that asks `provider`; gives each service's address, and what its callers export."""
    first = ports.free(16)
    environ = os.environ | {
        "LUMNI_CONFIG_DIR": str(FOLDER / "config"),
        "LUMNI_STATE_DIR": str(state),
        "LUMNI_REST_LISTEN": f"127.0.0.1:{first + 15}",
        "LUMNI_LOCAL_PORT": str(first),
        "LUMNI_LOCAL_METRICS_PORT": str(first + 8),
        "LUMNI_LOG_LEVEL": "WARNING",
        # It makes its own.
        "LUMNI_SERVICE_TOKEN": "",
        "LUMNI_LOAD_URL": f"{provider}/v1",
        "LUMNI_LOAD_KEY": "unused",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.local", env=environ, stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(START_S):
            await _ready(process)
        yield {name: f"127.0.0.1:{first + number}" for number, name in enumerate(SERVICES)}, exported(state)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


def exported(state: Path) -> dict[str, str]:
    """What `make run` wrote to local.env for a shell."""
    lines = (state / "local.env").read_text().splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))


async def _ready(process: Process) -> None:
    assert process.stdout is not None
    said = []
    while line := await process.stdout.readline():
        said.append(line.decode())
        if line.startswith(b"Ctrl-C stops"):
            return
    raise OSError("Lumni did not start:\n" + "".join(said))


async def measure(ghz: Path, name: str, address: str, metadata: Path) -> dict[str, Any]:
    """Run one configuration against an address; ghz's own report.

    Raises:
        OSError: ghz itself failed.
    """
    process = await asyncio.create_subprocess_exec(
        str(ghz),
        *(
            "--config",
            str(FOLDER / f"{name}.json"),
            "--format",
            "json",
            "--metadata-file",
            str(metadata),
            address,
        ),
        cwd=tools.ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(RUN_S):
        out, problem = await process.communicate()
    if process.returncode != 0:
        raise OSError(f"{name}: {problem.decode().strip() or out.decode().strip()}")
    report: dict[str, Any] = json.loads(out)
    return report


def shown(name: str, report: dict[str, Any]) -> str:
    """One line of the table; latencies in milliseconds."""
    percentiles = {each["percentage"]: each["latency"] / 1e6 for each in report["latencyDistribution"] or ()}
    failed = {status: count for status, count in report["statusCodeDistribution"].items() if status != "OK"}
    return (
        f"{name:28} {report['count']:7} {report['rps']:9.0f} "
        f"{percentiles.get(50, 0):8.2f} {percentiles.get(95, 0):8.2f} {percentiles.get(99, 0):8.2f}"
        f"{'  ' + str(failed) if failed else ''}"
    )


async def main(names: Sequence[str]) -> int:
    """Measure; 1 when any call failed."""
    try:
        ghz = await asyncio.to_thread(tools.find, "ghz")
    except tools.Absent as absent:
        print(f"load: skipped, {absent}")
        return 0
    failed = False
    with _folder() as folder:
        async with spawned() as simulator, lumni(simulator.url, folder / "state") as (addresses, keys):
            metadata = folder / "metadata.json"
            metadata.touch(mode=0o600)
            metadata_of_calls = {
                "authorization": f"Bearer {keys['OPENAI_API_KEY']}",
                TOKEN_KEY: keys["LUMNI_SERVICE_TOKEN"],
            }
            metadata.write_text(json.dumps(metadata_of_calls))
            print(f"{'rpc':28} {'calls':>7} {'per s':>9} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}")
            for name in configurations(names):
                report = await measure(ghz, name, addresses[name.partition("_")[0]], metadata)
                print(shown(name, report), flush=True)
                failed = failed or set(report["statusCodeDistribution"]) != {"OK"}
            counts = await simulator.counts()
            print(f"the provider saw {counts['requests']} requests, {counts['in_flight']} unfinished")
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))

r"""Run the load: python -m tests.load [name ...] [--rate 20] [--streams 10] [--seconds 30], or `make load`.

Each `<service>_<rpc>.json` in this folder is a ghz configuration that also works by itself against `make run`:

    ghz --config tests/load/classifier_classify.json -m "{\"x-lumni-service-token\": \"$LUMNI_SERVICE_TOKEN\"}"

Here they run against services started for them, with the simulator as provider and an empty state folder. Then vegeta asks
over HTTP. What was seen is written to a report in Markdown, with vegeta's page of graphs beside it.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from services.chassis.rpc.settings import TOKEN_KEY
from services.local import ports
from tests import tools
from tests.load import http, report
from tests.simulator import Simulator, spawned

FOLDER = Path(__file__).parent
START_S = 180
RUN_S = 300
SERVICES = ("gateway", "classifier", "selector", "executor")
REST = "rest"
# The name of the load over HTTP, beside those of the configurations.
HTTP = "http"


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
    """A whole Lumni that asks `provider`; gives each service's address, REST's too, and what its callers export."""
    first = ports.free(16)
    environ = os.environ | {
        "LUMNI_CONFIG_DIR": str(FOLDER / "config"),
        "LUMNI_STATE_DIR": str(state),
        "LUMNI_REST_LISTEN": f"127.0.0.1:{first + 15}",
        "LUMNI_LOCAL_PORT": str(first),
        "LUMNI_LOCAL_METRICS_PORT": str(first + 8),
        "LUMNI_LOG_LEVEL": "WARNING",
        # A shadow that can be asked, and that no request of the other loads is judged by.
        "LUMNI_CLASSIFIER_SHADOW": "v1=0",
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
        addresses = {name: f"127.0.0.1:{first + number}" for number, name in enumerate(SERVICES)}
        yield addresses | {REST: f"http://127.0.0.1:{first + 15}"}, exported(state)
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


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"beginnings of configurations' names, or {HTTP}; all by default"
    )
    parser.add_argument("--rate", type=int, default=20, help="answers a second over HTTP")
    parser.add_argument("--streams", type=int, default=10, help="streams under way at once over HTTP")
    parser.add_argument("--seconds", type=int, default=30, help="of the load over HTTP")
    parser.add_argument("--report", type=Path, default=tools.ROOT / ".lumni" / "load" / "report.md")
    return parser.parse_args(given)


async def main(given: argparse.Namespace) -> int:
    """Measure; 1 when any call failed."""
    seen = report.Seen()
    given.report.parent.mkdir(parents=True, exist_ok=True)
    with _folder() as folder:
        async with spawned() as simulator, lumni(simulator.url, folder / "state") as (addresses, keys):
            rpcs = [name for name in given.names if name != HTTP]
            if rpcs or not given.names:
                await _over_grpc(seen, rpcs, addresses, keys, folder / "metadata.json")
            if HTTP in given.names or not given.names:
                await _over_http(seen, given, addresses[REST], keys, simulator, folder)
            counts = await simulator.counts()
            seen.notes.append(
                f"the provider saw {counts['requests']} requests, {counts['in_flight']} unfinished"
            )
    given.report.write_text(report.written(seen))
    print(f"{report.written(seen)}\nwritten to {given.report}")
    return int(seen.failed)


async def _over_grpc(
    seen: report.Seen,
    names: Sequence[str],
    addresses: Mapping[str, str],
    keys: Mapping[str, str],
    metadata: Path,
) -> None:
    """Run ghz on every RPC."""
    try:
        ghz = await asyncio.to_thread(tools.find, "ghz")
    except tools.Absent as absent:
        seen.notes.append(f"RPCs: skipped, {absent}")
        return
    metadata.touch(mode=0o600)
    metadata_of_calls = {
        "authorization": f"Bearer {keys['OPENAI_API_KEY']}",
        TOKEN_KEY: keys["LUMNI_SERVICE_TOKEN"],
    }
    metadata.write_text(json.dumps(metadata_of_calls))
    for name in configurations(names):
        found = await measure(ghz, name, addresses[name.partition("_")[0]], metadata)
        seen.rpcs[name] = found
        seen.failed = seen.failed or set(found["statusCodeDistribution"]) != {"OK"}
        print(report.rpc_line(name, found), flush=True)


async def _over_http(
    seen: report.Seen,
    given: argparse.Namespace,
    rest: str,
    keys: Mapping[str, str],
    simulator: Simulator,
    folder: Path,
) -> None:
    """Run vegeta, and compare what it was answered with what the provider has answered."""
    try:
        vegeta = await asyncio.to_thread(tools.find, "vegeta")
    except tools.Absent as absent:
        seen.notes.append(f"HTTP: skipped, {absent}")
        return
    page = given.report.with_suffix(".html")
    before = await simulator.counts()
    amount = http.Amount(given.rate, given.streams, given.seconds)
    seen.over_http = await http.run(vegeta, rest, keys["OPENAI_API_KEY"], amount, folder=folder, page=page)
    after = await simulator.counts()
    reached = after["requests"] - before["requests"]
    seen.notes.append(
        f"over HTTP: {amount.rate} answers a second and {amount.streams} streams of {http.STREAM_S} s at once, for "
        f"{amount.seconds} s; {seen.over_http.sent} requests, of which the provider saw {reached}; graphs: {page.name}"
    )
    seen.notes.append(
        f"{seen.over_http.wrong} of them were not answered, or streams without all their chunks"
    )
    seen.failed = seen.failed or bool(seen.over_http.wrong) or seen.over_http.sent != reached


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments(sys.argv[1:]))))

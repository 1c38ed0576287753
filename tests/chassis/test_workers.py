"""Several processes behind one port, with the classifier, which needs no store."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import grpc
import prometheus_client
import psutil
import pytest
import pytest_asyncio
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb
from lumni.classifier.v1 import classifier_pb2_grpc as pb_grpc

from services.chassis import rpc
from services.chassis.rpc import probe
from services.local.ports import free as free_port

REQUEST = pb.ClassifyRequest(messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, text="What is 17 * 23?")])
COUNTED = re.compile(r'^lumni_rpc_duration_seconds_count\{.*Service/Classify"\} (\S+)$', re.MULTILINE)
CONNECTIONS = 32


class Run:
    """The classifier with some workers."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.listen, self.metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.log = folder / "log"
        given = {
            "PATH": os.environ["PATH"],
            "LUMNI_LISTEN": self.listen,
            "LUMNI_METRICS_LISTEN": self.metrics,
            "LUMNI_WORKERS": "2",
            # What is killed leaves its files behind.
            "TMPDIR": str(folder),
            **environ,
        }
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.classifier"], env=given, stdout=out, stderr=out
            )

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def counted(self) -> float:
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=60) as answer:
            return sum(map(float, COUNTED.findall(answer.read().decode())))

    async def until_two_serve(self) -> list[psutil.Process]:
        """Wait until each of two workers listens."""
        async with asyncio.timeout(120):
            while True:
                assert self.process.poll() is None, self.log.read_text()
                workers = self.workers()
                listening = [w for w in workers if _sockets(w, psutil.CONN_LISTEN, self.listen)]
                if len(listening) == 2:
                    return listening
                await asyncio.sleep(0.05)


def _sockets(process: psutil.Process, state: str, address: str) -> int:
    port = int(address.rpartition(":")[2])
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return 0
    return sum(one.status == state and one.laddr.port == port for one in found)


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[Run]:
    run = Run(folder, **environ)
    try:
        yield run
    finally:
        family = run.workers() if run.process.poll() is None else []
        run.process.kill()
        run.process.wait()
        # They end with the process that started them, however that ended.
        assert not psutil.wait_procs(family, timeout=60)[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """What all tests share; the last one of them ends it."""
    with running(tmp_path_factory.mktemp("workers")) as one:
        await one.until_two_serve()
        yield one


async def ask(run: Run) -> list[psutil.Process]:
    """Ask over many connections; the workers that they led to."""
    async with AsyncExitStack() as ends:
        channels = [
            await ends.enter_async_context(
                grpc.aio.insecure_channel(run.listen, [("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(CONNECTIONS)
        ]
        stubs = [pb_grpc.ClassifierServiceStub(channel) for channel in channels]
        await asyncio.gather(*(stub.Classify(REQUEST, timeout=60, wait_for_ready=True) for stub in stubs))
        return [one for one in run.workers() if _sockets(one, psutil.CONN_ESTABLISHED, run.listen)]


async def test_both_workers_get_calls_and_are_measured_together(run: Run) -> None:
    before = run.counted()

    assert 2 == len(await ask(run))

    assert CONNECTIONS == run.counted() - before


async def test_a_worker_that_is_killed_is_replaced_and_what_it_counted_stays(run: Run) -> None:
    before = run.counted()
    await ask(run)
    first, second = run.workers()
    first.kill()
    first.wait(60)

    assert {first.pid} == {first.pid, second.pid} - {one.pid for one in await run.until_two_serve()}
    assert 2 == len(await ask(run))
    assert 2 * CONNECTIONS == run.counted() - before
    assert "a worker ended with code -9" in run.log.read_text()


async def test_a_port_that_others_share_is_not_joined(run: Run, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with running(tmp_path / "second", LUMNI_LISTEN=run.listen) as second:
        assert 2 == await asyncio.to_thread(second.process.wait, 120)

    assert f"{run.listen} cannot be bound: Address already in use" in second.log.read_text()


async def test_all_end_when_asked_to_stop(run: Run) -> None:
    workers = run.workers()
    run.process.send_signal(signal.SIGTERM)

    assert 0 == await asyncio.to_thread(run.process.wait, 120)
    assert not psutil.wait_procs(workers, timeout=60)[1]
    assert not await probe.serves(run.listen, rpc.Settings(), timeout_s=0.5)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        # Found before a worker starts, and by the workers.
        ({"LUMNI_WORKERS": "0"}, "LUMNI_WORKERS: expected at least 1"),
        ({"LUMNI_CLASSIFIER_VERSIONS": "nothing"}, "LUMNI_CLASSIFIER_VERSIONS: there is no nothing.npz"),
        ({"LUMNI_LISTEN": "unix:socket"}, "LUMNI_WORKERS: processes cannot share unix:socket"),
    ],
)
async def test_mistaken_settings_end_all_and_are_named(
    environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    with running(tmp_path, **environ) as run:
        assert 2 == await asyncio.to_thread(run.process.wait, 120)

    assert said in run.log.read_text()


def test_every_gauge_says_what_it_is_of_several_workers() -> None:
    import services.executor.__main__
    import services.gateway.__main__
    import services.selector.__main__  # noqa: F401

    gauges = {
        metric
        for metric in prometheus_client.REGISTRY._collector_to_names
        # There is one ledger.
        if isinstance(metric, prometheus_client.Gauge) and not metric._name.startswith("lumni_ledger")
    }
    assert gauges
    assert not [gauge._name for gauge in gauges if gauge._multiprocess_mode == "all"]

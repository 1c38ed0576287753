"""What the collector of compose.yaml makes of its configuration: the real program, which `make collector` builds."""

import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from services.local import ports
from tests import otlp, tools
from tests.otlp import Collector

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "deploy" / "collector.yaml"
KEY = "pk-of-the-collector"
PLAIN = 400
# The collector draws by a hash of the trace's id: with these ids it is always the same draw.
IDS = random.Random(20)
# A trace is decided so long after its first span here; two minutes in production.
DECISION_WAIT_S = 2


def environment(folder: Path, key: str, **changed: str) -> dict[str, str]:
    """What compose.yaml sets when nobody sets anything but Portkey's key, in a file as `echo` writes it."""
    (folder / "PORTKEY_API_KEY").write_text(f"{key}\n")
    usual = {
        name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value)
        .replace("$$", "$")
        .replace("/run/secrets", str(folder))
        for name, value in composed()["environment"].items()
    }
    return {**os.environ, **usual, **changed}


def composed() -> Any:
    """What compose.yaml says of the collector."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["collector"]


@pytest.fixture(scope="module")
def program() -> Path:
    return tools.find_or_skip("otelcol")


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize("destination", ["debug", "otlphttp/portkey"])
def test_the_collector_takes_its_configuration_with_and_without_a_key(
    program: Path, destination: str, key: str, tmp_path: Path
) -> None:
    environ = environment(tmp_path, key, LUMNI_TRACES_TO=destination)
    done = subprocess.run(
        [program, "validate", "--config", CONFIGURATION],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr


def test_the_program_has_the_version_of_the_image(program: Path) -> None:
    version = composed()["image"].rpartition(":")[2].removesuffix("}")
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=60, check=True
    ).stdout

    assert version == said.split()[-1]
    assert tools.BUILDER.endswith(f"@v{version}")


@contextmanager
def running(program: Path, folder: Path, portkey: Collector) -> Iterator[tuple[str, str]]:
    """Run it with what is shipped until the block ends, but for addresses and the wait; its gRPC and HTTP addresses."""
    first = ports.free(2)
    addresses = f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"
    changes = {
        "receivers::otlp::protocols::grpc::endpoint": addresses[0],
        "receivers::otlp::protocols::http::endpoint": addresses[1],
        "processors::tail_sampling::decision_wait": f"{DECISION_WAIT_S}s",
        "exporters::otlphttp/portkey::traces_endpoint": f"{portkey.address}{otlp.PORTKEY_PATHS[0]}",
    }
    log = folder / "collector.log"
    environ = environment(folder, KEY, LUMNI_TRACES_TO="otlphttp/portkey")
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                program,
                "--config",
                CONFIGURATION,
                *(part for key, value in changes.items() for part in ("--config", f"yaml:{key}: {value}")),
            ],
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 60
            while "Everything is ready" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield addresses
        finally:
            process.terminate()
            process.wait(30)


def trace(
    service: str, *, ident: bytes, took_s: float = 0.2, failed: bool = False
) -> ExportTraceServiceRequest:
    """What a service sends of a trace: one span that has just ended."""
    end = time.time_ns()
    span = Span(
        trace_id=ident,
        span_id=random.randbytes(8),
        name="chat",
        start_time_unix_nano=end - int(took_s * 1e9),
        end_time_unix_nano=end,
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
    )
    named = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service))])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=named, scope_spans=[ScopeSpans(spans=[span])])]
    )


def test_errors_and_slow_traces_are_kept_whole_and_of_the_others_a_tenth(
    program: Path, tmp_path: Path
) -> None:
    failed, slow, *plain = (IDS.randbytes(16) for _ in range(PLAIN + 2))
    with (
        otlp.collecting(KEY) as portkey,
        running(program, tmp_path, portkey) as (rpc, http),
        httpx.Client() as client,
    ):

        def send(request: ExportTraceServiceRequest) -> None:
            answer = client.post(
                f"http://{http}/v1/traces",
                content=request.SerializeToString(),
                headers={"content-type": "application/x-protobuf"},
            )
            assert 200 == answer.status_code

        # Only one of the services has seen the error, and they send in different ways.
        send(trace("gateway", ident=failed))
        with grpc.insecure_channel(rpc) as channel:
            stub = TraceServiceStub(channel)  # type: ignore[no-untyped-call]
            stub.Export(trace("executor", ident=failed, failed=True), timeout=10)
        send(trace("executor", ident=slow, took_s=10.1))
        for ident in plain:
            send(trace("gateway", ident=ident))

        portkey.wait_for(failed.hex(), {"gateway", "executor"})
        portkey.wait_for(slow.hex(), {"executor"})
        # The last of the plain ones is decided with or before this one.
        last = IDS.randbytes(16)
        send(trace("gateway", ident=last, failed=True))
        portkey.wait_for(last.hex(), {"gateway"})
        kept = [ident for ident in plain if portkey.trace(ident.hex())]
        assert 0.05 * PLAIN <= len(kept) <= 0.15 * PLAIN

        # What comes after the decision follows it.
        dropped = next(ident for ident in plain if ident not in kept)
        send(trace("executor", ident=dropped, failed=True))
        send(trace("executor", ident=kept[0]))
        portkey.wait_for(kept[0].hex(), {"gateway", "executor"})
        assert not portkey.trace(dropped.hex())
        assert 0 == portkey.refused

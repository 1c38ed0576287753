"""`python -m services.local` as its users meet it: a process of its own, on ports and in a folder of the test's."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
import yaml

from services.local import ports
from services.local.settings import SERVICES
from tests.attacks import service_token
from tests.clients import environments, examples
from tests.load import __main__ as load

ROOT = Path(__file__).parents[2]
NAME = "smollm2-135m"
SURROUNDINGS = ("PATH", "HOME", "PYTHONPATH")
KEY = "a-providers-secret"
# Other examples, by HTTP and by gRPC, of an SDK and of none; tests/flow/test_clients.py runs all of them.
LOCAL = ("curl.sh", "grpcurl.sh", "openai_node.mjs")
PARTS = {"gateway", "executor", "selector", "classifier", "ledger", "model", "postgres", "valkey"}


ALONE = ("services.local",)
LUMNI_UP = ("services.gateway.cli.commands", "up")


class Run:
    """One run of everything, and what it said."""

    def __init__(self, environ: dict[str, str], output: Path, command: tuple[str, ...] = ALONE) -> None:
        self.output = output
        with output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=environ, stdout=out, stderr=out
            )

    def said(self) -> str:
        return self.output.read_text()

    def until(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        ends = monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said()
            assert monotonic() < ends, self.said()
            sleep(0.05)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def all_end(processes: list[psutil.Process], seconds: float = 60) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own; the provider in it has no chat model, so that nothing is sent to it."""
    folder = tmp_path_factory.mktemp("config")
    full = yaml.safe_load((ROOT / "config" / "litellm_config.yaml").read_text())
    chosen = [one for one in full["model_list"] if one["model_name"] in (NAME, "text-embedding-3-small")]
    assert len(chosen) == 2
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump({"model_list": chosen}))
    plans = yaml.safe_load((ROOT / "config" / "lumni.yaml").read_text())
    # A model as small as this often sees no end of its answer.
    plans["plans"][plans["bootstrap_plan"]]["max_output_tokens"] = 24
    (folder / "lumni.yaml").write_text(yaml.safe_dump(plans))
    return folder


@pytest.fixture(scope="module")
def environ(servers_folder: Path, configuration: Path) -> dict[str, str]:
    folder = servers_folder / "run"
    first = ports.free(10)
    return {
        **{name: os.environ[name] for name in SURROUNDINGS if name in os.environ},
        "LUMNI_STATE_DIR": str(folder),
        "LUMNI_REST_LISTEN": f"127.0.0.1:{first}",
        "LUMNI_LOCAL_PORT": str(first + 1),
        "LUMNI_LOCAL_METRICS_PORT": str(first + 5),
        "LUMNI_CONFIG_DIR": str(configuration),
        "OPENAI_API_KEY": KEY,
    }


@contextmanager
def running(environ: dict[str, str], output: Path, command: tuple[str, ...] = ALONE) -> Iterator[Run]:
    run = Run(environ, output, command)
    try:
        yield run
    finally:
        # What a crash of the supervisor leaves behind: nothing.
        family = run.family() if run.process.poll() is None else []
        run.process.kill()
        run.process.wait()
        assert all_end(family)


@pytest.fixture(scope="module")
def ready(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(environ, tmp_path_factory.mktemp("run") / "output") as run:
        run.until(lambda: "Lumni is ready" in run.said())
        yield run


def exported(environ: dict[str, str]) -> dict[str, str]:
    return load.exported(Path(environ["LUMNI_STATE_DIR"]))


def test_everything_is_ready_and_a_pasted_line_gets_an_answer(ready: Run, environ: dict[str, str]) -> None:
    said = ready.said()
    assert "gateway    ready" in said
    line = said[said.index("  . ") : said.index("Ctrl-C stops")]

    done = subprocess.run(
        ["sh", "-ec", line], capture_output=True, text=True, timeout=120, env={"PATH": os.environ["PATH"]}
    )

    answer = json.loads(done.stdout)
    assert answer["object"] == "chat.completion", answer
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["lumni"]["degraded"] == []


@pytest.mark.parametrize("example", LOCAL)
def test_another_example_is_answered_by_the_local_model(
    ready: Run, environ: dict[str, str], tmp_path: Path, example: str
) -> None:
    surroundings = {
        "LUMNI_URL": f"http://{environ['LUMNI_REST_LISTEN']}",
        "LUMNI_GRPC": f"127.0.0.1:{environ['LUMNI_LOCAL_PORT']}",
        "LUMNI_API_KEY": exported(environ)["OPENAI_API_KEY"],
        **environments.clean(tmp_path),
    }
    command, variables = examples.command(example, tmp_path, surroundings)

    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=variables)

    assert 0 == done.returncode, done.stderr
    assert done.stdout.strip()


def test_the_example_of_anthropics_sdk_is_answered_by_the_local_model(
    ready: Run, environ: dict[str, str]
) -> None:
    surroundings = {
        "LUMNI_URL": f"http://{environ['LUMNI_REST_LISTEN']}",
        "LUMNI_API_KEY": exported(environ)["OPENAI_API_KEY"],
        "PATH": os.environ["PATH"],
    }

    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "clients" / "anthropic_python.py"],
        capture_output=True,
        text=True,
        timeout=120,
        env=surroundings,
    )

    assert 0 == done.returncode, done.stderr
    answer, _, rest = done.stdout.partition(f"{NAME} cost 0.0 USD\n")
    assert answer.strip()
    assert rest.strip()


def test_a_provider_joins_by_its_key_and_only_the_executor_sees_it(ready: Run) -> None:
    holders = {
        " ".join(process.cmdline()[-2:])
        for process in ready.family()
        if KEY in Path(f"/proc/{process.pid}/environ").read_text()
    }

    assert holders == {"-m services.executor"}
    assert "the local model and those of openai" in ready.said()


def test_secrets_are_for_their_owner_and_never_said(ready: Run, environ: dict[str, str]) -> None:
    folder = Path(environ["LUMNI_STATE_DIR"])
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"local.env", "lock", "gateway.log", "service_token"} <= {file.name for file in files}
    assert not [file for file in files if stat.S_IMODE(file.stat().st_mode) & 0o077]
    keys = exported(environ)
    assert keys["OPENAI_API_KEY"].startswith("sk-lumni-")
    told = ready.said() + "".join(log.read_text() for log in (folder / "logs").iterdir())
    for secret in (keys["OPENAI_API_KEY"], keys["LUMNI_ADMIN_KEY"], keys["LUMNI_SERVICE_TOKEN"], KEY):
        assert secret not in told


def test_each_process_is_given_the_secrets_it_reads(ready: Run, environ: dict[str, str]) -> None:
    holders: dict[str, set[str]] = {}
    for process in ready.family():
        module = process.cmdline()[-1].removeprefix("services.")
        for pair in Path(f"/proc/{process.pid}/environ").read_text().split("\0"):
            holders.setdefault(pair.partition("=")[0], set()).add(module)

    called = {"gateway", "classifier", "selector", "executor"}
    for name in ("LUMNI_API_KEY", "LUMNI_ADMIN_KEY", "LUMNI_KEY_SECRET", "LUMNI_RESPONSES_KEY"):
        assert {"gateway"} == holders[name]
    assert {"gateway", "gateway.ledger"} == holders["DATABASE_URL"]
    assert {"gateway", "gateway.ledger", "selector", "executor"} == holders["REDIS_URL"]
    assert called == holders["LUMNI_SERVICE_TOKEN"]
    assert {"executor", "local.model"} == holders["LUMNI_LOCAL_MODEL_KEY"]


def test_no_service_behind_the_gateway_answers_without_the_token(ready: Run, environ: dict[str, str]) -> None:
    first = int(environ["LUMNI_LOCAL_PORT"])
    addresses = {name: f"127.0.0.1:{first + number}" for number, name in enumerate(SERVICES)}

    found = asyncio.run(service_token.wrong(addresses, exported(environ)["LUMNI_SERVICE_TOKEN"]))

    assert [] == found


def test_each_service_has_a_log_of_json_lines(ready: Run, environ: dict[str, str]) -> None:
    logs = Path(environ["LUMNI_STATE_DIR"]) / "logs"
    assert {log.stem for log in logs.iterdir()} == PARTS | {"migrate"}
    for name in ("gateway", "classifier", "selector", "executor", "ledger"):
        for line in (logs / f"{name}.log").read_text().splitlines():
            assert json.loads(line)["service"] == name


def test_a_second_run_is_told_of_the_first(ready: Run, environ: dict[str, str], tmp_path: Path) -> None:
    second = Run(environ, tmp_path / "second")

    assert second.process.wait(120) == 0
    assert (
        f"already running: pid {ready.process.pid}, http://{environ['LUMNI_REST_LISTEN']}/v1" in second.said()
    )


def test_a_taken_port_is_named_with_its_holder_and_its_variable(
    ready: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    third = Run({**environ, "LUMNI_STATE_DIR": str(tmp_path / "state")}, tmp_path / "third")

    assert third.process.wait(120) == 1
    assert f"{environ['LUMNI_REST_LISTEN']} is in use by python" in third.said()
    assert "set LUMNI_REST_LISTEN to another" in third.said()


def test_a_service_that_is_killed_comes_back_and_its_log_is_shown(ready: Run) -> None:
    (classifier,) = (process for process in ready.family() if process.cmdline()[-1] == "services.classifier")

    classifier.kill()

    ready.until(lambda: "classifier is ready again" in ready.said())
    assert "classifier ended with code -9" in ready.said()
    assert "classifier.log, ends:\n" in ready.said()


def test_ctrl_c_takes_everything_down_and_lumni_up_goes_on_in_one_process(
    ready: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    family, keys = ready.family(), exported(environ)
    assert len(family) == len(PARTS) + len([p for p in family if p.ppid() != ready.process.pid])

    ready.process.send_signal(signal.SIGINT)

    assert ready.process.wait(120) == 0
    assert all_end(family)
    # The project's own configuration, and no key of a provider.
    keyless = {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}
    with running({**keyless, "LUMNI_CONFIG_DIR": str(ROOT / "config")}, tmp_path / "up", LUMNI_UP) as run:
        run.until(lambda: "Lumni is ready" in run.said())
        assert keys == exported(environ)
        modules = [process.cmdline()[-1] for process in run.family()]
        ours = {name.removeprefix("services.") for name in modules if name.startswith("services.")}
        first = int(environ["LUMNI_LOCAL_PORT"])
        addresses = {name: f"127.0.0.1:{first + number}" for number, name in enumerate(SERVICES)}
        wrong = asyncio.run(service_token.wrong(addresses, keys["LUMNI_SERVICE_TOKEN"]))
        line = run.said()[run.said().index("  . ") : run.said().index("Ctrl-C stops")]
        done = subprocess.run(
            ["sh", "-ec", line],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"]},
        )
        run.process.send_signal(signal.SIGINT)
        assert 0 == run.process.wait(120)

    assert {"together", "gateway.ledger", "local.model"} == ours
    assert [] == wrong
    decided = json.loads(done.stdout)["lumni"]
    assert (NAME, []) == (decided["model"], decided["degraded"])


def test_a_mistake_in_the_configuration_is_told_with_its_line(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "litellm_config.yaml").write_text(
        "model_list:\n  - model_name: x\n    litellm_params: {model: nobody}\n"
    )
    run = Run(
        {**environ, "LUMNI_STATE_DIR": str(tmp_path), "LUMNI_CONFIG_DIR": str(tmp_path)}, tmp_path / "out"
    )

    assert run.process.wait(120) == 2
    assert "litellm_config.yaml:3" in run.said()

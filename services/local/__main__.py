"""Run everything on one machine: python -m services.local, or `make run`."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from services.chassis import (
    config,
    configured_environment,
    credentials,
    listening,
    litellm_config,
    redis_acl,
    rpc,
)
from services.chassis.config import Mistakes
from services.chassis.deployments import Deployment, Fleet
from services.local import environment, ports, weights
from services.local.postgres import Postgres
from services.local.server import Failed
from services.local.service import Check, Service, grpc_health, http_ok
from services.local.settings import BEHIND, MEASURED, SERVICES, Settings
from services.local.state import Running, State
from services.local.supervisor import Part, Supervisor
from services.local.valkey import Valkey

# How long the processes of a killed run may keep a port, in seconds.
PORT_RELEASE_S = 2.0
# The key of the local model, which is no provider's.
LOCAL_MODEL_KEY = "LUMNI_LOCAL_MODEL_KEY"
TRY = r"""Try it in another terminal:

  . {file}
  curl "$OPENAI_BASE_URL/chat/completions" -H "authorization: Bearer $OPENAI_API_KEY" \
    -H 'content-type: application/json' \
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'
"""
# What a wheel brings of the project's folder `config`.
OWN_CONFIG = Path(__file__).with_name("config")
MODULES = {"model": "local.model", "ledger": "gateway.ledger", "migrate": "gateway.migrate"}


def say(line: str) -> None:
    """Print a line, if the terminal is still there."""
    with suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def parts(
    settings: Settings, state: State, environ: Mapping[str, str], model_file: Path | None
) -> list[Part]:
    """Everything that runs, in the order in which it is stopped: servers first, stores last."""
    postgres = Postgres(state.folder / "postgres", port=settings.postgres_port, log=state.log("postgres"))
    valkey = Valkey(state.folder / "valkey", port=settings.valkey_port, log=state.log("valkey"))
    model_port = settings.model_port or ports.free()
    token = {"LUMNI_SERVICE_TOKEN": state.secret("service_token", settings.server.token.reveal())}
    database = {"DATABASE_URL": postgres.url}
    model = {
        "LUMNI_LOCAL_MODEL_WEIGHTS": str(model_file),
        "LUMNI_LOCAL_MODEL_PORT": str(model_port),
        "LUMNI_LOCAL_MODEL_URL": f"http://127.0.0.1:{model_port}/v1",
        LOCAL_MODEL_KEY: state.secret("model"),
    }
    if model_file is None:
        model = {}
    modules = dict(MODULES)
    # Where the gateway finds the services behind it; together, its process reads what theirs would.
    peers = {f"LUMNI_{name.upper()}": settings.grpc(name) for name in BEHIND}
    if settings.together:
        modules["gateway"] = "together"
        peers = {
            **model,
            **dict.fromkeys(peers, rpc.INPROC),
            **{f"{target}_LISTEN": address for target, address in peers.items()},
            **{f"LUMNI_{name.upper()}_REDIS_URL": valkey.url_of(name) for name in ("selector", "executor")},
        }
    # What each reads, and no more.
    given: Mapping[str, Mapping[str, str]] = {
        "gateway": {
            **token,
            **database,
            **peers,
            "LUMNI_REST_LISTEN": settings.rest,
            "LUMNI_API_KEY": state.secret("api_key", settings.api_key.reveal(), "sk-lumni-"),
            "LUMNI_ADMIN_KEY": state.secret("admin_key", settings.admin_key.reveal(), "sk-lumni-admin-"),
            "LUMNI_VIEWER_KEY": settings.viewer_key.reveal(),
            "LUMNI_KEY_SECRET": state.secret("key_secret", settings.key_secret.reveal()),
            "LUMNI_RESPONSES_KEY": state.secret("responses_key", settings.responses_key.reveal()),
            **environment.chosen(environment.OF_GATEWAY, environ),
        },
        "executor": {**token, **model},
        "selector": token,
        "classifier": token,
        "ledger": {**database, **environment.chosen(environment.OF_LEDGER, environ)},
        "migrate": database,
        "model": model,
    }

    def service(name: str, is_ready: Check | None = None) -> Service:
        # Together, the gateway's process is the executor's: it has the spool, and may see providers' keys.
        seen_as = "executor" if settings.together and name == "gateway" else name
        own = {
            "LUMNI_CONFIG_DIR": str(settings.config_dir.absolute()),
            "LUMNI_STATE_DIR": str(state.folder / seen_as),
        }
        if name in MEASURED:
            own["LUMNI_METRICS_LISTEN"] = settings.metrics(name)
        if name in SERVICES:
            own["LUMNI_LISTEN"] = settings.grpc(name)
        if name in redis_acl.USERS:
            own["REDIS_URL"] = valkey.url_of(name)
        return Service(
            name,
            f"services.{modules.get(name, name)}",
            environ={**environment.inherited(seen_as, environ), **own, **given[name]},
            log=state.log(name),
            is_ready=is_ready,
        )

    def answering(name: str) -> Service:
        return service(name, grpc_health(settings.grpc(name), settings.server))

    migrate = service("migrate")
    gateway = service("gateway", http_ok(settings.url(), "/health/ready"))
    ledger = service("ledger", http_ok(f"http://{settings.metrics('ledger')}", "/metrics"))
    local_model = service("model", http_ok(f"http://127.0.0.1:{model_port}", "/health"))
    step = Part(migrate, after=("postgres",), step=migrate.finish)
    behind = [
        Part(answering("executor"), ("valkey",), settings.grpc("executor"), drain_s=settings.drain_s),
        # It reads at its start what the executor says of keys: the first request must not meet a model without one.
        Part(answering("selector"), ("valkey", "executor"), settings.grpc("selector")),
        Part(answering("classifier"), (), settings.grpc("classifier")),
    ]
    return [
        Part(gateway, ("migrate", "valkey"), settings.url(), drain_s=settings.drain_s),
        *(behind if not settings.together else []),
        Part(ledger, ("migrate", "valkey")),
        *([Part(local_model, (), f"127.0.0.1:{model_port}")] if model_file else []),
        Part(valkey, (), f"127.0.0.1:{valkey.port}"),
        step,
        Part(postgres, (), f"127.0.0.1:{postgres.port}", drain_s=30.0),
    ]


async def until(event: asyncio.Event, work: Awaitable[object]) -> bool:
    """Run `work` until it is done or the event is set; whether it was done."""
    doing, event_set = asyncio.ensure_future(work), asyncio.create_task(event.wait())
    await asyncio.wait((doing, event_set), return_when=asyncio.FIRST_COMPLETED)
    event_set.cancel()
    if doing.done():
        await doing
        return True
    doing.cancel()
    await asyncio.wait((doing,))
    return False


async def busy(settings: Settings) -> list[str]:
    """What is wrong with the addresses, one line each; those of a killed run get time to become free."""
    ends = monotonic() + PORT_RELEASE_S
    while taken := [pair for pair in settings.addresses() if not ports.is_free(pair[0])]:
        if monotonic() > ends:
            break
        await asyncio.sleep(0.1)
    lines = []
    for address, name in taken:
        by = ports.holder(ports.split(address)[1])
        # Who listens is known; a connection may have it, too.
        why = f"{address} is in use by {by}: end that" if by else listening.problem(address)
        if why:
            lines.append(f"{why}, or set {name} to another")
    return lines


def is_set(deployment: Deployment, environ: Mapping[str, str]) -> bool:
    """Whether a deployment has what it takes to call it; a key of Lumni is no provider's."""
    key = environ.get(deployment.key_ref, "")
    return not credentials.missing(deployment, environ) and not key.startswith("sk-lumni-")


def joined(fleet: Fleet, environ: Mapping[str, str]) -> list[str]:
    """The providers whose deployments have what it takes to call them."""
    others = (one for one in fleet.deployments if one.key_ref != LOCAL_MODEL_KEY)
    return sorted({one.provider for one in others if is_set(one, environ)})


async def run(settings: Settings, environ: Mapping[str, str], began: float) -> int:
    """Start everything, print how to use it, and stop it on a signal; returns the exit code."""
    file = settings.config_dir / "litellm_config.yaml"
    fleet = litellm_config.load(file)
    known = configured_environment.variables(file, environ)
    for warning in fleet.warnings:
        say(warning)
    if configured_environment.of_gateway(environ).get("DATABASE_URL") != environ.get("DATABASE_URL"):
        say(
            "general_settings.database_url: what runs here keeps its data in a PostgreSQL of its own; ignored"
        )
    if not (plans := settings.config_dir / "lumni.yaml").exists():
        raise Mistakes([f"{plans}: is missing; copy config/lumni.yaml of this project there"])
    state = State(settings.state_dir)
    with state.locked({"pid": str(os.getpid()), "url": settings.url(), "grpc": settings.grpc("gateway")}):
        if lines := await busy(settings):
            say("\n".join(lines))
            return 1
        stop, stop_now = asyncio.Event(), asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                stop_now.set()
                return
            stop.set()
            say("\nstopping: requests under way may end; Ctrl-C again ends everything now")

        signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            # nohup: it outlives its terminal.
            signals.remove(signal.SIGHUP)
        for number in signals:
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        finding = asyncio.create_task(local_model(fleet, state.folder / "model"))
        if not await until(stop, finding):
            say("stopped")
            return 0
        model_file = finding.result()
        supervisor = Supervisor(parts(settings, state, environ, model_file), say)
        code = 0
        try:
            if await until(stop, supervisor.start()):
                own = model_file is not None
                say(_welcome(settings, state, fleet, known, took_s=monotonic() - began, own=own))
                await until(stop, supervisor.watch())
        except Failed as failure:
            say(f"\n{failure}\n\nall logs: {state.folder / 'logs'}")
            code = 1
        finally:
            await until(stop_now, supervisor.stop())
            supervisor.kill()
        say("stopped")
        return code


async def local_model(fleet: Fleet, folder: Path) -> Path | None:
    """The local model's file, fetched into the folder if need be; None where no deployment is called with its key."""
    if not any(one.key_ref == LOCAL_MODEL_KEY for one in fleet.deployments):
        return None
    try:
        return await weights.find_or_fetch(folder, say)
    except weights.AbsentError as absent:
        say(str(absent))
        return None


def _welcome(
    settings: Settings,
    state: State,
    fleet: Fleet,
    environ: Mapping[str, str],
    *,
    took_s: float,
    own: bool,
) -> str:
    file = state.write_shell(
        {
            "OPENAI_BASE_URL": f"{settings.url()}/v1",
            "OPENAI_API_KEY": state.secret("api_key", settings.api_key.reveal()),
            "LUMNI_ADMIN_KEY": state.secret("admin_key", settings.admin_key.reveal()),
            # For calls of the services behind the gateway.
            "LUMNI_SERVICE_TOKEN": state.secret("service_token", settings.server.token.reveal()),
        }
    )
    providers = joined(fleet, environ)
    others = (one for one in fleet.deployments if one.key_ref != LOCAL_MODEL_KEY)
    absent = sorted({name for one in others if (name := credentials.missing(one, environ))})
    lines = [
        "",
        f"Lumni is ready after {took_s:.1f} s: {settings.url()}/v1, gRPC at {settings.grpc('gateway')}",
        f"Models: {_models(providers, absent, own=own)}",
        f"Config: {settings.config_dir.absolute()}",
        f"Logs:   {state.folder / 'logs'}",
        f"Page:   {settings.url()}/dashboard, opened by LUMNI_ADMIN_KEY of {file}",
        "",
    ]
    if own or providers:
        lines.append(TRY.format(file=shlex.quote(str(file))))
    return "\n".join([*lines, f"Ctrl-C stops everything; what it knows stays in {state.folder}"])


def _models(providers: Sequence[str], absent: Sequence[str], *, own: bool) -> str:
    """Whose models can be called, and what would make them more."""
    named = ", ".join(providers)
    if own and providers:
        return f"the local model and those of {named}"
    if providers:
        return f"those of {named}"
    wanted = "a provider's key, such as OPENAI_API_KEY," if own else " or ".join(absent)
    return f"{'the local model' if own else 'none can be called yet'}; set {wanted} and start again for more"


def _configured(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment; where nothing is configured, an installed Lumni uses the configuration that it came with."""
    here = any(Path("config", name).exists() for name in ("litellm_config.yaml", "lumni.yaml"))
    if environ.get("LUMNI_CONFIG_DIR") or here or not OWN_CONFIG.exists():
        return environ
    return {**environ, "LUMNI_CONFIG_DIR": str(OWN_CONFIG)}


def main() -> int:
    """Run until Ctrl-C; 0 also when it is running already, 1 when a part fails, 2 for wrong settings."""
    began = monotonic()
    try:
        environ = _configured(config.environment())
        settings = config.from_environ(Settings, configured_environment.of_gateway(environ))
        return asyncio.run(run(settings, environ, began))
    except Running as running:
        facts = running.facts
        say(
            f"Lumni is already running: pid {facts.get('pid', '?')}, {facts.get('url', '')}/v1, "
            f"gRPC at {facts.get('grpc', '')}; end it with Ctrl-C there, or kill {facts.get('pid', '?')}"
        )
        return 0
    except Mistakes as mistakes:
        say("\n".join(mistakes.lines))
        return 2


if __name__ == "__main__":
    sys.exit(main())

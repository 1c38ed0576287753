"""lumni evaluate: how good the configured models are at tasks of each category, for what the selector chooses by."""

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.chassis import config, measured_scores
from services.chassis.money import nano
from services.gateway.cli import moments, own_key
from services.gateway.cli.client import Gateway, RefusedError, Settings
from services.gateway.cli.output import show, table

# Only `evaluate` itself needs these and what they import.
if TYPE_CHECKING:
    from services.gateway.evaluation.caller import Model
    from services.gateway.evaluation.report import Report
    from services.gateway.evaluation.runner import Runner
    from services.gateway.evaluation.tasks import Task
    from services.gateway.evaluation.traffic import Wanted


def evaluate(
    budget: Annotated[
        str, typer.Option(help="the most to spend, in USD, earlier starts with the same --results included")
    ],
    models: Annotated[
        str | None,
        typer.Option(
            help="names of GET /v1/models, separated by commas; all that are available and have a price when left out"
        ),
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(
            help="a file of tasks, as docs/evaluation.md describes it; the packaged suite when left out"
        ),
    ] = None,
    traffic: Annotated[
        str | None,
        typer.Option(
            help="ask what users asked since then (7d, or a date), where their plan lets prompts be evaluated and they "
            "are kept; sends these to all of the models and to the judge"
        ),
    ] = None,
    of_plan: Annotated[str | None, typer.Option(help="with --traffic: only requests of this plan")] = None,
    each: Annotated[
        int, typer.Option(min=1, max=200, help="with --traffic: prompts of each category, at most")
    ] = 20,
    seed: Annotated[str, typer.Option(help="with --traffic: another one draws other prompts")] = "1",
    categories: Annotated[str | None, typer.Option(help="only these, separated by commas")] = None,
    judge: Annotated[
        str | None, typer.Option(help="the model that compares answers where no check tells")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="whose answers it compares them with; the best by what is known when left out"),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="the plan of the key that is made; it has to reach the models")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="ask every model every task, not only where it matters")
    ] = False,
    results: Annotated[
        Path, typer.Option(help="where answers are written; a second start goes on from there")
    ] = Path("evaluation.jsonl"),
    report: Annotated[Path, typer.Option(help="where the report is written, as HTML")] = Path(
        "evaluation.html"
    ),
    scores: Annotated[
        Path | None,
        typer.Option(
            help="where the selector reads scores; measured_scores.yaml in LUMNI_CONFIG_DIR when left out"
        ),
    ] = None,
    answer_tokens: Annotated[int, typer.Option(min=16, help="the longest answer that is paid for")] = 4096,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="questions under way at the same time")] = 4,
) -> None:
    """Ask the models tasks within a budget, grade the answers, and tell the selector."""
    from services.gateway.evaluation.caller import CallError
    from services.gateway.evaluation.results import MixedError
    from services.gateway.evaluation.sandbox import NoSandboxError
    from services.gateway.evaluation.tasks import SUITE, UnreadableError, load
    from services.gateway.evaluation.traffic import Wanted

    place = scores or Path(os.environ.get("LUMNI_CONFIG_DIR") or "config") / measured_scores.FILE
    if not place.parent.is_dir():
        raise RefusedError(f"{place.parent}: there is no such folder; --scores says where the selector reads")
    if traffic and (tasks or not judge):
        raise RefusedError(
            "--traffic: prompts of users have no checks and need --judge, and --tasks is something else"
        )
    try:
        chosen: dict[str, Task] = {}
        skipped = 0
        if not traffic:
            chosen, skipped = _chosen(load(tasks or SUITE), _names(categories), with_judge=bool(judge))
        budget_nano = nano(budget)
        since = moments.iso("--traffic", traffic) if traffic else ""
        wanted = Wanted(since, of_plan or "", each, seed, _names(categories), traffic) if traffic else None
        options = _Options(
            budget_nano,
            _names(models),
            judge,
            reference,
            plan,
            results,
            answer_tokens,
            at_once,
            adaptive=not everything,
            traffic=wanted,
        )
        ran = asyncio.run(_run(chosen, options))
    except (CallError, MixedError, NoSandboxError, UnreadableError) as error:
        raise RefusedError(str(error)) from error
    except ValueError as error:
        raise RefusedError(f"--budget: {error}") from error
    _conclude(ran, skipped, place, report)


@dataclass(frozen=True)
class _Options:
    """What the command was told, the budget in nano-USD."""

    budget: int
    models: Sequence[str]
    judge: str | None
    reference: str | None
    plan: str | None
    results: Path
    answer_tokens: int
    at_once: int
    adaptive: bool
    traffic: "Wanted | None" = None


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _chosen(
    tasks: Sequence["Task"], categories: Sequence[str], *, with_judge: bool
) -> tuple[dict[str, "Task"], int]:
    """The tasks that can be graded, by their ids, and how many others there are."""
    from services.gateway.evaluation import checks, sandbox

    wanted = [one for one in tasks if not categories or one.category in categories]
    if not wanted:
        known = sorted({one.category for one in tasks})
        raise RefusedError(f"--categories: no tasks of {', '.join(categories)}; there are {', '.join(known)}")
    graded = {
        one.id: one
        for one in wanted
        if with_judge or (one.check is not None and not checks.criteria(one.check))
    }
    if not graded:
        raise RefusedError("these tasks have no checks; name a model that grades them with --judge")
    if any(one.check is not None and checks.runs_code(one.check) for one in graded.values()):
        sandbox.check()
    return graded, len(wanted) - len(graded)


async def _run(tasks: Mapping[str, "Task"], options: _Options) -> "Runner":
    """Ask, with progress on the standard error; Ctrl-C waits for what is under way, and a second one does not."""
    from services.gateway.evaluation.caller import Caller
    from services.gateway.evaluation.design import Design, in_order
    from services.gateway.evaluation.results import VERDICT, Results
    from services.gateway.evaluation.runner import Runner, Setup
    from services.gateway.evaluation.spending import Spending
    from services.gateway.evaluation.traffic import Traffic

    settings = config.from_environ(Settings, config.environment())
    async with AsyncExitStack() as stack:
        file = stack.enter_context(Results(options.results))
        file.check(options.traffic.options if options.traffic is not None else None)
        spent = sum(row["nano_usd"] for row in file.rows)
        key = stack.enter_context(_key(settings, options, spent))
        caller = await stack.enter_async_context(Caller(settings.base, key))
        asked = {name: await caller.model(name) for name in options.models or await caller.models()}
        by = await caller.model(options.judge) if options.judge else None
        # An evaluation that goes on compares with whom it began with.
        name = options.reference or next(
            (row["reference"] for row in file.rows if row["kind"] == VERDICT), ""
        )
        reference = (await caller.model(name) if name else _best(asked.values())) if by else None
        if reference is not None and list(asked) == [reference.name]:
            raise RefusedError("--judge compares answers of two models; name another one with --reference")
        reads = None
        if options.traffic is not None:
            admin = await stack.enter_async_context(Caller(settings.base, settings.admin_key.reveal()))
            reads = Traffic(admin)
            tasks = await reads.tasks(options.traffic, file)
            readers = ", ".join(
                dict.fromkeys([*asked, reference.name if reference else "", options.judge or ""])
            )
            show(f"Sent to {readers}: {reads.said(len(tasks))}", "")
        levels: dict[str, dict[str, int]] = {}
        for one in tasks.values():
            levels.setdefault(one.category, {})[one.id] = one.level
        design = Design(
            {category: in_order(listed) for category, listed in levels.items()},
            # The reference first, whose answers those of others are compared with.
            sorted(asked, key=lambda name: reference is None or name != reference.name),
            adaptive=options.adaptive,
        )
        runner = Runner(
            Setup(tasks, asked, by, reference, options.answer_tokens, options.at_once),
            design,
            file,
            Spending(options.budget),
            caller,
        )
        if reads is not None:
            runner.withdrawn = reads.withdrawn
        stack.enter_context(_progress(runner))
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            runner.stop("it was interrupted; the same command goes on")
            loop.remove_signal_handler(signal.SIGINT)

        loop.add_signal_handler(signal.SIGINT, interrupted)
        await runner.run()
        return runner


def _best(models: Iterable["Model"]) -> "Model":
    """The best by what is known of them; of equals the dearest."""
    return max(models, key=lambda one: (one.standing, one.prices.output))


@contextmanager
def _key(settings: Settings, options: _Options, spent: int) -> Iterator[str]:
    """The key to ask with: the one that the environment has, else one for this evaluation, with what is left."""
    if options.traffic is not None and not settings.admin_key:
        raise RefusedError("--traffic: set LUMNI_ADMIN_KEY; what users wrote is for admins to read")
    # Of prompts of users nothing may be kept once more, which only a key of its own says.
    if settings.api_key and options.traffic is None:
        yield settings.api_key.reveal()
        return
    with own_key.made(Gateway(), options.plan, max(0, options.budget - spent)) as key:
        yield key


@contextmanager
def _progress(runner: "Runner") -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("asking", total=runner.design.most_calls)

        def moved() -> None:
            unsure = f", {runner.design.unsure} orders unsure" if runner.design.adaptive else ""
            bars.update(bar, completed=runner.design.calls, description=f"{runner.spending}{unsure}")

        runner.progress = moved
        moved()
        yield


def _conclude(runner: "Runner", skipped: int, place: Path, report: Path) -> None:
    """Write the scores and the report, and show it."""
    from services.gateway.evaluation import summary
    from services.gateway.evaluation.report import Report
    from services.gateway.evaluation.tasks import CATEGORIES

    rows, estimates = runner.results.rows, runner.design.estimates()
    told = Report(
        on=datetime.now(UTC).date().isoformat(),
        models=summary.models(estimates, rows),
        categories=list(dict.fromkeys(one.category for one in runner.setup.tasks.values())),
        calls=runner.design.calls,
        plain_calls=runner.design.plain_calls,
        spent=str(runner.spending),
        over=runner.over,
        left_out=runner.left_out,
        skipped=skipped,
        agreement=summary.agreement(rows),
    )
    earlier = measured_scores.load(place, CATEGORIES)
    measured_scores.write(place, summary.scores(estimates, rows, earlier))
    report.write_text(told.html(), encoding="utf-8")
    _show(told)
    show("", f"The selector reads {place}; the report is {report}.")


def _show(told: "Report") -> None:
    from services.gateway.evaluation.report import cell

    rows: list[dict[str, Any]] = [
        {
            "model": one.name,
            "solved": f"{one.quality:.1%}",
            "interval": f"{one.low:.1%} to {one.high:.1%}",
            "usd": one.usd_per_task,
            "answers": one.answers,
            "frontier": one.on_frontier,
        }
        for one in told.models
    ]
    columns = (
        ("MODEL", "model"),
        ("SOLVED", "solved"),
        ("95 %", "interval"),
        ("USD PER TASK", "usd"),
        ("ANSWERS", "answers"),
        ("FRONTIER", "frontier"),
    )
    show(table(rows, columns), "")
    by_category = [
        {"category": category, **{one.name: cell(one.by_category.get(category)) for one in told.models}}
        for category in told.categories
    ]
    show(table(by_category, [("CATEGORY", "category"), *((one.name, one.name) for one in told.models)]), "")
    show(
        f"{told.calls} answers were graded; asking every model every task takes {told.plain_calls}. "
        f"Spent: {told.spent}. It ended because {told.over}.",
        *told.conclusions,
    )

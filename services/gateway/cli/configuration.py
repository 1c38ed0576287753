"""lumni config: what would change if other configuration files became live, and which version each gateway serves."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.chassis import lumni_config
from services.chassis.config import Mistakes
from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.cli.output import show, table

if TYPE_CHECKING:
    from services.gateway.config.facts import Difference

app = typer.Typer(no_args_is_help=True)

# As diff's.
EQUAL, DIFFERENT, TROUBLE = 0, 1, 2
COLUMNS = (("", "sign"), ("NAME", "name"), ("BEFORE", "before"), ("AFTER", "after"))
REPLICAS = (
    ("GATEWAY", "replica"),
    ("VERSION", "version"),
    ("SINCE", "since"),
    ("REFUSES", "refuses"),
)


@app.command()
def diff(
    to: Annotated[
        Path | None,
        typer.Option(help="the files that are to become live: a folder with both, or one of the two"),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="compare with what the gateway serves, not with the folder here")
    ] = False,
) -> None:
    """Show what would change, by name: plans, switches, system prompts, alerts, deployments and prices.

    Live is LUMNI_CONFIG_DIR, or with --server what the gateway serves; compared is --to, or with --server alone
    LUMNI_CONFIG_DIR. Code 0 when nothing would, 1 when something would, 2 when a file holds a mistake.
    """
    if to is None and not server:
        raise typer.BadParameter("say what to compare with: --to FILE, --server, or both")
    try:
        found, same_files = _compared(to, server=server)
    except (Mistakes, RefusedError, OSError) as error:
        sys.stderr.write(f"lumni: {error}\n")
        raise typer.Exit(TROUBLE) from error
    if found:
        show(table([_row(one) for one in found], COLUMNS))
        if again := [one.name for one in found if one.needs_restart]:
            show("", f"In force only when the services start again: {', '.join(again)}")
        raise typer.Exit(DIFFERENT)
    show(
        "Nothing would change."
        if same_files
        else "Nothing would change: the files differ in comments, order, or a provider's key."
    )


@app.command()
def status() -> None:
    """Show which version of the configuration each gateway process serves, and why one refuses a newer."""
    answer = Gateway()("GET", "/admin/configuration")
    show(table(answer["replicas"], REPLICAS))
    if len({one["version"] for one in answer["replicas"]}) > 1:
        show("", "The gateways serve different versions.")


def _compared(to: Path | None, *, server: bool) -> "tuple[Sequence[Difference], bool]":
    # Reading prices takes longer than all else of the command line together.
    from services.gateway import configuration
    from services.gateway.config.facts import differences

    here = Path(os.environ.get("LUMNI_CONFIG_DIR") or "config")
    with tempfile.TemporaryDirectory() as scratch:
        after = configuration.read(here if to is None else _folder(to, here, Path(scratch)))
        before: Mapping[str, str]
        if server:
            live = Gateway()("GET", "/admin/configuration/facts")
            before, version = live["facts"], live["version"]
        else:
            current = configuration.read(here)
            before, version = current.facts, current.version
    return differences(before, after.facts), version == after.version


def _folder(to: Path, here: Path, scratch: Path) -> Path:
    """A folder with both files: `to` itself, or the one file beside the other that is live."""
    from services.gateway.configuration import FILES

    if to.is_dir():
        return to
    if not to.is_file():
        raise RefusedError(f"{to}: there is no such file")
    fleet, lumni = FILES
    new, other = (lumni, fleet) if lumni_config.is_one(to) else (fleet, lumni)
    shutil.copy(to, scratch / new)
    shutil.copy(here / other, scratch / other)
    return scratch


def _row(one: "Difference") -> dict[str, str | None]:
    sign = "+" if one.before is None else "-" if one.after is None else "~"
    return {"sign": sign, "name": one.name, "before": one.before, "after": one.after}

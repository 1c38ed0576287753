"""lumni logs: the files of LUMNI_REQUEST_LOG_DIR, filtered, followed and summed."""

import os
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.chassis.money import usd
from services.gateway.cli.client import RefusedError
from services.gateway.cli.output import show, table
from services.gateway.recording.record import is_record

# Seconds between looks at the folder while it is followed.
LOOK_S = 1.0
COLUMNS = (
    ("TIME", "time"),
    ("MODEL", "model"),
    ("ANSWERED BY", "answered_by"),
    ("PROMPT", "prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("COST USD", "cost_usd"),
    ("MS", "duration_ms"),
    ("ERROR", "error"),
    ("REQUEST", "request_id"),
)
SUMS = (
    ("MODEL", "model"),
    ("REQUESTS", "requests"),
    ("ERRORS", "errors"),
    ("PROMPT", "prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("COST USD", "cost_usd"),
)
ADDED = ("prompt_tokens", "completion_tokens", "cost_nano_usd")


def logs(
    folder: Annotated[
        Path | None, typer.Argument(help="the folder; LUMNI_REQUEST_LOG_DIR when left out")
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="only requests that failed")] = False,
    model: Annotated[str | None, typer.Option(help="only requests for this model")] = None,
    last: Annotated[int, typer.Option(min=1, help="the newest so many")] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", help="go on with those that come; Ctrl-C stops")
    ] = False,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="tokens and cost of all of them, by model")
    ] = False,
) -> None:
    """Show the requests that were logged as files."""
    place = folder or Path(os.environ.get("LUMNI_REQUEST_LOG_DIR") or "logs/llm")
    if not place.is_dir():
        raise RefusedError(
            f"{place}: there is no such folder; LUMNI_REQUEST_LOG_DIR makes a gateway write it"
        )

    def wanted(row: Mapping[str, Any]) -> bool:
        return (not errors or row["error"] is not None) and model in (None, row["model"])

    names = _names(place)
    if tokens:
        show(table(_sums(filter(wanted, _rows(place, names))), SUMS))
        return
    newest = list(islice(filter(wanted, _rows(place, reversed(names))), last))
    show(table(newest[::-1], COLUMNS))
    while follow:
        time.sleep(LOOK_S)
        known = set(names)
        names = _names(place)
        # Without headings again: a line each.
        for row in filter(wanted, _rows(place, [name for name in names if name not in known])):
            show("  ".join(str("-" if row[key] is None else row[key]) for _, key in COLUMNS))


def _names(folder: Path) -> list[str]:
    """The names of the files, the oldest first."""
    return sorted(entry.name for entry in os.scandir(folder) if is_record(entry.name))


def _rows(folder: Path, names: Any) -> Iterator[dict[str, Any]]:
    for name in names:
        try:
            found = orjson.loads((folder / name).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            # It made room meanwhile, or is no file of ours.
            continue
        usage = found.get("usage") or {}
        error = found.get("error")
        yield {
            "time": found["time"],
            "model": found["model"],
            "answered_by": found.get("answered_by"),
            "prompt_tokens": usage.get("prompt_tokens", 0),
            "completion_tokens": usage.get("completion_tokens", 0),
            "cost_nano_usd": found.get("cost_nano_usd", 0),
            "cost_usd": usd(found.get("cost_nano_usd", 0)),
            "duration_ms": found["duration_ms"],
            "error": error and f"{error['reason']}: {error['message']}",
            "request_id": found["request_id"],
        }


def _sums(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        for name in (row["model"], "all"):
            one = found.setdefault(
                name, {"model": name, "requests": 0, "errors": 0, **dict.fromkeys(ADDED, 0)}
            )
            one["requests"] += 1
            one["errors"] += row["error"] is not None
            for key in ADDED:
                one[key] += row[key]
    for one in found.values():
        one["cost_usd"] = usd(one["cost_nano_usd"])
    # The sum of all of them last.
    return sorted(found.values(), key=lambda one: (one["model"] == "all", one["model"]))

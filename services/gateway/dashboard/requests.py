"""Requests: a list to search in, and everything that is known of one."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from lumni.events.v1 import events_pb2

from services.chassis import errors
from services.gateway.dashboard import charts, formats, reasons
from services.gateway.dashboard.paged import paged
from services.gateway.dashboard.pages import HOME, Pages, redirect
from services.gateway.dashboard.periods import PERIODS, period
from services.gateway.dashboard.session import Session
from services.gateway.keys import permissions
from services.gateway.recording.text_store import TextStore
from services.gateway.reports.requests import FILTERS, PAGE, Outcome, RequestQuery, RequestReports, Story
from services.gateway.reports.time_range import dated

LIST = f"{HOME}/requests"
# What W3C's trace context calls a trace.
TRACE_ID = re.compile(r"[0-9a-f]{32}")
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Keys of the environment, which have no page.
CONFIGURED = (permissions.ADMIN, permissions.BOOTSTRAP)
# Characters of a value that is searched for.
LONGEST = 256


def router(
    pages: Pages, requests: RequestReports, texts: TextStore | None, session_route: type[APIRoute]
) -> APIRouter:
    """The list of requests, and the page of one; without `texts` no prompts and answers are kept."""
    routes = APIRouter(prefix=HOME, route_class=session_route)

    @routes.get("/requests")
    async def listed(request: Request) -> Response:
        asked = {name: value.strip() for name, value in request.query_params.items()}
        if identifier := asked.get("q", "").lower():
            return redirect(f"{LIST}/{await _named(requests, identifier)}")
        shown = period(asked.get("period", ""))
        wanted = _query(asked, shown.starts(datetime.now(UTC))[0])
        found = await requests.find(wanted)
        rows, last = paged(found, PAGE)
        following = ""
        if last:
            kept = {name: value for name, value in asked.items() if value and name not in ("at", "id")}
            following = f"{LIST}?" + urlencode(
                {**kept, "at": last["at"].isoformat(), "id": last["request_id"]}
            )
        return await pages.page(
            request,
            "requests.html",
            rows=rows,
            following=following,
            asked={name: asked.get(name, "") for name in (*FILTERS, "outcome")},
            shown=shown,
            periods=PERIODS,
            outcomes=list(Outcome),
        )

    @routes.get("/requests/{request_id}")
    async def one(request: Request, request_id: str) -> Response:
        story = await requests.story(request_id[:LONGEST])
        if story is None:
            raise errors.NotFound(
                f"there is no request {request_id[:64]!r}; one that has just ended is written within a second"
            )
        session: Session = request.state.session
        kept = await texts.read(story.request_id) if texts is not None and session.is_admin else None
        return await pages.page(
            request,
            "request.html",
            story=story,
            texts=_texts(kept) if kept is not None else [],
            reasons=_reasons(story),
            timeline=_timeline(story),
            unstored=CONFIGURED,
        )

    return routes


async def _named(requests: RequestReports, identifier: str) -> str:
    """The request that an id, of its own or of its trace, names.

    Raises:
        Invalid: it is neither.
        NotFound: no request left this trace.
    """
    if REQUEST_ID.fullmatch(identifier):
        return identifier
    if not TRACE_ID.fullmatch(identifier):
        raise errors.Invalid(
            f"q: {identifier[:64]!r} is no id of a request, such as 0190b0a4-..., and no trace id of 32 digits",
            param="q",
        )
    found = await requests.of_trace(identifier)
    if found is None:
        raise errors.NotFound(f"no request left the trace {identifier}")
    return found


def _query(asked: Mapping[str, str], since: datetime) -> RequestQuery:
    """What is asked for; a page that follows begins where the last one ended.

    Raises:
        Invalid: a value that no list has.
    """
    outcome = asked.get("outcome", "")
    if outcome and outcome not in list(Outcome):
        raise errors.Invalid(f"outcome: expected one of {', '.join(Outcome)}", param="outcome")
    try:
        before = dated("at", datetime.fromisoformat(at)) if (at := asked.get("at", "")) else _soon()
    except ValueError as error:
        raise errors.Invalid("at: expected a moment as ISO 8601 has it", param="at") from error
    return RequestQuery(
        since,
        before,
        asked.get("id", "")[:LONGEST],
        Outcome(outcome) if outcome else None,
        {name: asked[name][:LONGEST] for name in sorted(FILTERS) if asked.get(name)},
    )


def _soon() -> datetime:
    """A moment that no request has reached yet, even by a clock that runs a little ahead."""
    return datetime.now(UTC) + timedelta(minutes=5)


def _texts(kept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Both sides of a request with what they say, as JSON."""
    return [
        (
            title,
            "too long to be kept"
            if name in kept["cut"] and kept[name] is None
            else orjson.dumps(kept[name], option=orjson.OPT_INDENT_2).decode(),
        )
        for title, name in (("Prompt", "request"), ("Answer", "response"))
    ]


def _reasons(story: Story) -> dict[str, Any] | None:
    """Why the request was decided as it was; None where the ledger kept no reasons."""
    kept = story.selection["reasons"] if story.selection else None
    if kept is None:
        return None
    event = events_pb2.DecisionEvent.FromString(kept)
    return reasons.shown(event.classification, event.selection)


def _timeline(story: Story) -> dict[str, Any]:
    """When each attempt was under way, from the decision on."""
    starts = [row["started_at"] for row in story.attempts]
    if story.selection:
        starts.append(story.selection["decided_at"])
    begin = min(starts)
    spans = []
    if story.selection:
        spans.append(charts.Span("decided", "decided", _since(begin, story.selection["decided_at"]), 0.0))
    for number, row in enumerate(story.attempts, 1):
        spans.append(
            charts.Span(
                f"attempt {number}: {row['deployment']}, {formats.milliseconds(row['duration_ms'])}",
                row["kind"],
                _since(begin, row["started_at"]),
                row["duration_ms"],
                row["first_chunk_ms"],
            )
        )
    ends_ms = max(one.starts_ms + one.lasts_ms for one in spans)
    return {
        "chart": charts.timeline(spans, label=f"{len(story.attempts)} attempts in {ends_ms:.0f} ms"),
        "ends_ms": ends_ms,
    }


def _since(begin: datetime, moment: datetime) -> float:
    return (moment - begin) / timedelta(milliseconds=1)

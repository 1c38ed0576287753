"""How the errors and the streamed events of all routes are written, in the form of OpenAI's API or of another."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from services.chassis import errors, status


@dataclass(frozen=True, slots=True)
class ApiFormat:
    """The conventions of one API.

    Args:
        error: The body of an answer that says what went wrong.
        event: A chunk of a stream as a server-sent event.
        error_event: What went wrong after the first chunk, as the last event of a stream.
        end: What follows the last chunk of a stream that ended well.

    """

    error: Callable[[errors.Fault], bytes]
    event: Callable[[str], bytes]
    error_event: Callable[[errors.Fault], bytes]
    end: bytes


_KIND = re.compile(r'\{\s*"type"\s*:\s*"([\w.]{1,100})"')


def event_of(chunk: str) -> bytes:
    """A chunk that says its own type, as an event of that name."""
    found = _KIND.match(chunk)
    kind = found[1] if found else str(orjson.loads(chunk).get("type", "message"))
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), chunk.encode())


def _error(fault: errors.Fault) -> bytes:
    return orjson.dumps(status.to_http_error(fault))


def _error_event(fault: errors.Fault) -> bytes:
    return event_of(orjson.dumps({"type": "error", **status.to_http_error(fault)}).decode())


OPENAI = ApiFormat(
    error=_error,
    event=lambda chunk: b"data: %b\n\n" % chunk.encode(),
    error_event=lambda fault: b"data: %b\n\n" % _error(fault),
    end=b"data: [DONE]\n\n",
)
# Pictures and speech, whose events have names, and whose last one is the end.
OPENAI_MEDIA = ApiFormat(error=_error, event=event_of, error_event=_error_event, end=b"")

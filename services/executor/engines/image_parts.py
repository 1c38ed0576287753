"""Where a body holds pictures and files: their addresses, checked before anything is fetched, and their replacement.

Whatever is wrong with an address is the caller's mistake, found here and named by its field; LiteLLM would fail on it
in ways of its own.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from yarl import URL

from services.executor.engines.outcomes import ErrorClass, Failed

# Where a message holds parts: its content, and the pictures that an assistant drew.
_HOLDERS = ("content", "images")
_KINDS = ("image_url", "file", "video_url")
# Where a part holds an address, in any of which LiteLLM would look.
_ADDRESSES = ("url", "file_data", "file_id")
# In characters; no server takes a longer one.
LONGEST_ADDRESS = 8192
# What of an address is shown in an error, in characters.
_SHOWN = 200
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:")
_DATA = re.compile(r"data:[\w.+-]{1,100}/[\w.+-]{1,100}(;[\w.+=-]{1,100}){0,4};base64,")


def remote(body: Mapping[str, Any]) -> dict[str, str]:
    """The addresses to fetch, each with the field where it stands first.

    Raises:
        Failed: an address that cannot be read, or of a kind that is not fetched; the caller's mistake.

    """
    found: dict[str, str] = {}
    messages = body.get("messages")
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        for path, part in _parts(message):
            _check_shape(part, f"messages[{number}].{path}")
            for name, address in _addresses(part):
                field = f"messages[{number}].{path}.{name}"
                if _is_remote(address):
                    _check(address, field)
                    found.setdefault(address, field)
                elif address[:5].lower() == "data:" and not _DATA.match(address):
                    raise refused(field, "expected data:<type>;base64,<bytes>")
    return found


def replaced(body: Mapping[str, Any], fetched: Mapping[str, str]) -> Mapping[str, Any]:
    """The body with each of these addresses replaced by what was fetched from it."""
    return {**body, "messages": [_with(message, fetched) for message in body["messages"]]}


def parsed(address: str, field: str) -> URL:
    """An address that can be fetched.

    Raises:
        Failed: it cannot be read, or is none of http or https.

    """
    try:
        url = URL(address)
    except ValueError as error:
        # yarl's words name what is wrong with it: the port, the brackets, the host.
        raise refused(field, f"no valid address: {str(error)[:_SHOWN]}") from error
    if url.scheme not in ("http", "https") or not url.host or url.user or url.password:
        raise refused(field, "only http and https addresses of pictures are fetched")
    return url


def shown(url: URL) -> str:
    """An address without what may be secret in it."""
    return str(url.with_query(None).with_fragment(None).with_user(None))[:_SHOWN]


def refused(field: str, why: str) -> Failed:
    """A caller's mistake in a field."""
    return Failed(ErrorClass.BAD_REQUEST, f"{field}: {why}", param=field)


def _check_shape(part: Any, path: str) -> None:
    """LiteLLM's translations index what they expect to be there."""
    if not isinstance(part, Mapping) or part.get("type") not in _KINDS:
        return
    field = f"{path}.{part['type']}"
    held = part.get(str(part["type"]))
    given = {name: held[name] for name in _ADDRESSES if name in held} if isinstance(held, Mapping) else held
    if isinstance(given, Mapping):
        for name, address in given.items():
            if not isinstance(address, str) or not address:
                raise refused(f"{field}.{name}", "expected an address, or data:<type>;base64,<bytes>")
    if not given or not isinstance(given, Mapping | str):
        expected = "file_data" if part["type"] == "file" else "url"
        raise refused(field, f"expected an object with {expected}")


def _check(address: str, field: str) -> None:
    if len(address) > LONGEST_ADDRESS:
        raise refused(field, f"the address is longer than {LONGEST_ADDRESS} characters")
    parsed(address, field)


def _is_remote(address: str) -> bool:
    """Whether it is an address at all: not a picture's bytes, and not the id of a file."""
    if address[:5].lower() == "data:":
        return False
    return "://" in address or _SCHEME.match(address.lstrip()) is not None


def _parts(message: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a message, each with its path in it."""
    if not isinstance(message, Mapping):
        return
    for holder in _HOLDERS:
        parts = message.get(holder)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            yield f"{holder}[{number}]", part


def _addresses(part: Any) -> Iterator[tuple[str, str]]:
    """What a part that is a picture or a file says of where it is, each with the field's name."""
    if not isinstance(part, Mapping) or part.get("type") not in _KINDS:
        return
    kind = str(part["type"])
    held = part.get(kind)
    if isinstance(held, Mapping):
        yield from ((f"{kind}.{name}", held[name]) for name in _ADDRESSES if isinstance(held.get(name), str))
    elif isinstance(held, str):
        yield kind, held


def _with(message: Any, fetched: Mapping[str, str]) -> Any:
    if not isinstance(message, Mapping):
        return message
    held = {name: message[name] for name in _HOLDERS if isinstance(message.get(name), list)}
    return {**message, **{name: [_inline(part, fetched) for part in parts] for name, parts in held.items()}}


def _inline(part: Any, fetched: Mapping[str, str]) -> Any:
    data = next((fetched[address] for _, address in _addresses(part) if address in fetched), None)
    if data is None:
        return part
    kind = str(part["type"])
    held = part[kind] if isinstance(part[kind], Mapping) else {}
    kept = {name: value for name, value in held.items() if name not in _ADDRESSES}
    return {**part, kind: {**kept, "file_data" if kind == "file" else "url": data}}

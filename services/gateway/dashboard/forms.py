"""Forms as browsers send them."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request

from services.chassis import errors
from services.gateway.rest.requests import read_short

TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 64

Form = Mapping[str, str]


async def read_form(request: Request) -> Form:
    """The fields that a form sent, without the blanks around them; of a name that is there twice, the last one counts.

    Raises:
        Invalid: it is no form, or holds what no form of ours does.
        TooLarge: it is longer than 256 KiB.
        CallerLeft: the browser left while sending it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != TYPE:
        raise errors.Invalid(f"content-type: expected {TYPE}, as the forms of this page send it")
    body = await read_short(request.receive)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise errors.Invalid("the form cannot be read; fill it in again on this page") from error
    for name, value in pairs:
        if "\0" in value:
            raise errors.Invalid(f"{name[:64]}: holds a NUL; leave it out", param=name[:64])
    return {name: value.strip() for name, value in pairs}

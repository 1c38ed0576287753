"""A form with a file, as browsers and SDKs upload one."""

from dataclasses import dataclass, field
from typing import Any

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from services.chassis.errors import Invalid, UnsupportedType
from services.gateway.requests import fields

MULTIPART = "multipart/form-data"
# The longest value of a field that is no file, in characters: that of a prompt.
LONGEST_FIELD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file: its name and type, as the caller says, and its bytes."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


def read(body: bytes, content_type: str, most_bytes: int) -> tuple[dict[str, Any], dict[str, Upload]]:
    """The fields of a form and its files, by their names; one whose name ends in [] is a list.

    Args:
        body: The form.
        content_type: The header, which says how its parts are divided.
        most_bytes: More bytes than the body has.

    Raises:
        UnsupportedType: it says that it is no form.
        Invalid: it is none, or holds too much.
    """
    kind, options = parse_options_header(content_type)
    if kind.decode("latin-1") != MULTIPART or not options.get(b"boundary"):
        raise UnsupportedType(
            f"content-type: send a form with a file, as {MULTIPART} with its boundary", param="content-type"
        )
    found: dict[str, Any] = {}
    files: dict[str, Upload] = {}

    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen > fields.MAX_FIELDS:
            raise Invalid(f"the form has more than {fields.MAX_FIELDS} fields; send fewer")

    def on_field(one: Field) -> None:
        count()
        name, value = _text(one.field_name), _text(one.value)
        if len(value) > LONGEST_FIELD:
            raise Invalid(f"{name}: expected at most {LONGEST_FIELD} characters", param=name)
        if name.endswith("[]"):
            found.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            found[name] = value

    def on_file(one: File) -> None:
        count()
        one.file_object.seek(0)
        name = _text(one.field_name)
        files[name] = Upload(_text(one.file_name), one.content_type or "", one.file_object.read())
        one.close()

    # Nothing of a caller's is written to a disk.
    config = {"MAX_MEMORY_FILE_SIZE": most_bytes}
    try:
        parser = FormParser(MULTIPART, on_field, on_file, boundary=options[b"boundary"], config=config)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Invalid(f"the body is no form that can be read: {error}") from error
    return found, files


def _text(value: bytes | None) -> str:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError as error:
        raise Invalid("the body's fields must be UTF-8") from error

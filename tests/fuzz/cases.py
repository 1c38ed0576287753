"""What a fuzzer found once: kept as files, and tried again by the tests."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz.rpcs import RPCS, Rpc

# A folder for each target: `selector.Select` holds messages as text, `parser.sse` bytes as they are.
FOLDER = Path(__file__).parent / "cases"
# The end of the names of files that hold a message.
MESSAGE = ".txtpb"


def of_rpcs() -> Iterator[tuple[str, Rpc, Message]]:
    """The name, the method and the request of each case of an RPC."""
    for path in sorted(FOLDER.glob(f"*/*{MESSAGE}")):
        rpc = RPCS[path.parent.name]
        request = text_format.Parse(path.read_text("utf-8"), GetMessageClass(rpc.request)())
        yield f"{rpc}/{path.stem}", rpc, request


def of_parser(name: str) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each case of a parser."""
    for path in sorted((FOLDER / f"parser.{name}").glob("*")):
        yield path.name, path.read_bytes()


def keep(target: str, found: Message | bytes) -> Path:
    """Write down what made a target fail; its name is a digest until a person gives it a better one."""
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(found, bytes):
        path = folder / sha256(found).hexdigest()[:12]
        path.write_bytes(found)
    else:
        text = text_format.MessageToString(found, as_utf8=False)
        path = folder / f"{sha256(text.encode()).hexdigest()[:12]}{MESSAGE}"
        path.write_text(text, "utf-8")
    return path

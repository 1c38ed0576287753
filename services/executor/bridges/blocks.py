"""What a chat's answer holds, block after block: thoughts, text, a refusal, calls of functions.

Chat completions may interleave the deltas of several calls. The other formats begin a block when the one before it has
ended, so what belongs to a later block waits for that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from services.executor.bridges.base import mapping, objects


class Kind(Enum):
    """What a block is."""

    THOUGHT = auto()
    TEXT = auto()
    REFUSAL = auto()
    CALL = auto()


@dataclass(slots=True)
class Block:
    """A part of an answer.

    Attributes:
        kind: What it is.
        index: Its place in the answer, from 0.
        call_id: The id of a call.
        name: The function that is called.
        pieces: Its text, or the call's arguments as JSON.

    """

    kind: Kind
    index: int = 0
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)


class Step(Enum):
    """What happens to a block."""

    BEGINS = auto()
    GROWS = auto()
    ENDS = auto()


# What happens, to which block, and the piece that it grows by.
BlockEvent = tuple[Step, Block, str]
_TEXTS = {"reasoning_content": Kind.THOUGHT, "content": Kind.TEXT, "refusal": Kind.REFUSAL}


def of_message(message: Mapping[str, Any]) -> list[Block]:
    """The blocks of a whole message."""
    blocks = BlockReader()
    for _ in (*blocks.read(message), *blocks.end()):
        pass
    return blocks.blocks


class BlockReader:
    """Reads the deltas of one choice.

    Attributes:
        blocks: All blocks so far, in their order.

    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._calls: dict[int, Block] = {}
        # The block that has begun and not ended; those after it have not begun.
        self._open: Block | None = None

    def read(self, delta: Mapping[str, Any]) -> Iterator[BlockEvent]:
        """What a delta changes."""
        for name, kind in _TEXTS.items():
            if isinstance(text := delta.get(name), str) and text:
                last = self.blocks[-1] if self.blocks else None
                if last is None or last.kind is not kind:
                    yield from self.end()
                    last = self._added(Block(kind))
                yield from self._grown(last, text)
        for place, call in enumerate(objects(delta.get("tool_calls"))):
            yield from self._read_call(call, place)

    def end(self) -> Iterator[BlockEvent]:
        """The end of all blocks so far."""
        waiting = self.blocks[self._open.index if self._open else len(self.blocks) :]
        for block in waiting:
            if block is not self._open:
                yield Step.BEGINS, block, ""
                for piece in block.pieces:
                    yield Step.GROWS, block, piece
            yield Step.ENDS, block, ""
        self._open = None
        self._calls.clear()

    def _read_call(self, call: Mapping[str, Any], place: int) -> Iterator[BlockEvent]:
        function = mapping(call.get("function"))
        # A whole message's calls have no index.
        number = call["index"] if isinstance(call.get("index"), int) else place
        block = self._calls.get(number)
        if block is None:
            if not self._calls:
                yield from self.end()
            block = self._added(
                Block(Kind.CALL, call_id=str(call.get("id") or ""), name=str(function.get("name") or ""))
            )
            self._calls[number] = block
        if isinstance(arguments := function.get("arguments"), str) and arguments:
            yield from self._grown(block, arguments)
        elif self._open is None:
            yield from self._begun(block)

    def _added(self, block: Block) -> Block:
        block.index = len(self.blocks)
        self.blocks.append(block)
        return block

    def _begun(self, block: Block) -> Iterator[BlockEvent]:
        self._open = block
        yield Step.BEGINS, block, ""

    def _grown(self, block: Block, piece: str) -> Iterator[BlockEvent]:
        if self._open is None:
            yield from self._begun(block)
        block.pieces.append(piece)
        if block is self._open:
            yield Step.GROWS, block, piece

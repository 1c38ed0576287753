"""What is asked: the packaged suite, or a file of one's own, one JSON object a line."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from lumni.classifier.v1 import classifier_pb2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.chassis.enums import word
from services.gateway.evaluation.checks import Check

SUITE = Path(__file__).parent / "suite" / "tasks.jsonl"
CATEGORIES = tuple(
    name
    for number in classifier_pb2.Category.values()
    if (name := word(classifier_pb2.Category, number)) is not None
)
# As many as anyone would pay for; a file with more was meant for something else.
MOST_TASKS = 10_000
MOST_FILE_BYTES = 256 * 1024 * 1024


class UnreadableError(Exception):
    """Why a file of tasks cannot be used, with the line."""


def _category(name: str) -> str:
    plain = name.replace(" ", "_")
    if plain not in CATEGORIES:
        raise ValueError(f"expected one of {', '.join(CATEGORIES)}")
    return plain


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


class Task(BaseModel):
    """One task: what is asked, and how a right answer is told from a wrong one.

    Attributes:
        id: Its name, unique in its file; by default made of what is asked.
        category: One of the classifier's.
        level: How hard it is, 1 to 4.
        messages: What is sent.
        check: How answers are graded; without one a judge grades them by its own opinion.
        reference: A right answer. The check passes it, and a judge is shown it.
        wrong: An answer that looks right and that the check fails.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(max_length=200)] = ""
    category: Annotated[str, AfterValidator(_category)] = "other"
    level: Annotated[int, Field(ge=1, le=4)] = 2
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    check: Check | None = None
    reference: str = ""
    wrong: str = ""

    @property
    def prompt(self) -> list[dict[str, str]]:
        """The messages as they are sent."""
        return [message.model_dump() for message in self.messages]

    @property
    def digest(self) -> str:
        """A name for all that an answer and its grade depend on: a changed task is another one."""
        said = orjson.dumps(self.model_dump(exclude={"id", "wrong"}), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(said).hexdigest()[:16]


def conversation(body: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The messages of a request that was kept, for `Task` to validate; None where they hold more than texts.

    The system text of Anthropic's Messages API stands beside the messages; here it is the first of them.
    """
    said = body.get("messages")
    if not isinstance(said, list):
        return None
    if body.get("system"):
        said = [{"role": "system", "content": body["system"]}, *said]
    plain = ("role", "content", "name")
    if not all(isinstance(one, dict) and all(name in plain or not one[name] for name in one) for one in said):
        return None
    return [{"role": one.get("role"), "content": one.get("content")} for one in said]


def load(path: Path = SUITE) -> tuple[Task, ...]:
    """Read a file of tasks.

    Raises:
        UnreadableError: names the first line that is wrong, its field, and what is expected there.
    """
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise UnreadableError(f"{path}: larger than {MOST_FILE_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read: {error}") from error
    tasks: dict[str, Task] = {}
    for where, row in _rows(path, text):
        try:
            task = Task.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the object"
            raise UnreadableError(f"{where}: {field}: {first['msg']}") from None
        if not task.id:
            task = task.model_copy(update={"id": task.digest})
        if task.id in tasks:
            raise UnreadableError(f"{where}: id: {task.id} is there twice")
        tasks[task.id] = task
    if not tasks:
        raise UnreadableError(f"{path}: there are no tasks in it")
    if len(tasks) > MOST_TASKS:
        raise UnreadableError(f"{path}: {len(tasks)} tasks, at most {MOST_TASKS} are taken")
    return tuple(tasks.values())


def _rows(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                yield where, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UnreadableError(f"{where}: not JSON: {error}") from None

"""Grades of both answers by a model, from 1 to 5, as `lumni evaluate` has answers graded."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from lumni.chat.v1 import chat_pb2

from services.gateway.evaluation import judge
from services.gateway.evaluation.tasks import Message, Task
from services.gateway.keys.permissions import Caller
from services.gateway.mirroring import answers
from services.gateway.mirroring.answers import Said
from services.gateway.mirroring.target import NotAdmittedError, Target
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest

ROLES = {chat_pb2.ROLE_SYSTEM: "system", chat_pb2.ROLE_ASSISTANT: "assistant"}


@dataclass(frozen=True, slots=True)
class Grades:
    """Of the caller's answer and of the target's; None where the judge gave none."""

    own: int | None = None
    target: int | None = None


class Grading:
    """Has both answers graded, each by itself, so that neither stands first.

    Args:
        target: Asks the judge.

    """

    def __init__(self, target: Target) -> None:
        self._target = target

    async def grades(
        self,
        caller: Caller,
        model: str,
        request: ModelRequest,
        said: tuple[Said, Said],
        deadline_s: float,
        of: str,
    ) -> Grades:
        """The grades; none of either where one of them is missing, as then nothing can be compared.

        Args:
            caller: The mirror.
            model: The judge.
            request: What both answer.
            said: The caller's answer, and the target's.
            deadline_s: Of each grade, in seconds.
            of: The id of the request that is mirrored.
        """
        task = _task(request.messages)
        found = []
        for one in said:
            if task is None or (grade := await self._grade(caller, model, task, one, deadline_s, of)) is None:
                return Grades()
            found.append(grade)
        return Grades(*found)

    async def _grade(
        self, caller: Caller, model: str, task: Task, said: Said, deadline_s: float, of: str
    ) -> int | None:
        body = {
            "model": model,
            "messages": judge.messages(task, "", said.text or said.refusal, answer_first=True),
            "max_completion_tokens": judge.ANSWER_TOKENS,
        }
        asked = chat_request.parse(orjson.dumps(body))
        try:
            found = await self._target.ask(caller, asked, deadline_s, of)
        except NotAdmittedError:
            return None
        return judge.grade(answers.read(asked.operation, found.pieces, stream=False).text)


def _task(messages: Sequence[chat_pb2.Message]) -> Task | None:
    """What was asked, as far as a decision reads it; None where there is no text."""
    said = tuple(
        Message.model_validate({"role": ROLES.get(one.role, "user"), "content": one.text})
        for one in messages
        if one.text
    )
    return Task(messages=said) if said else None

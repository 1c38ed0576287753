"""Grades of both answers by a model, from 1 to 5, as `lumni evaluate` has answers graded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
from lumni.chat.v1 import chat_pb2

from services.gateway.evaluation import judge
from services.gateway.evaluation.tasks import Message, Task
from services.gateway.keys.permissions import Caller
from services.gateway.mirroring import answers
from services.gateway.mirroring.answers import Said
from services.gateway.mirroring.target import NotAdmittedError, Target
from services.gateway.requests import chat_request
from services.gateway.requests.hints import Hints
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
        if task is None:
            return Grades()
        # The limits of a key are of those models that it may call itself.
        asks = replace(caller, models=())
        found = []
        for one in said:
            wanted = _wanted(model, task, one, request.hints)
            if (grade := await self._grade(asks, wanted, deadline_s, of)) is None:
                return Grades()
            found.append(grade)
        return Grades(*found)

    async def _grade(self, caller: Caller, wanted: ModelRequest, deadline_s: float, of: str) -> int | None:
        try:
            found = await self._target.ask(caller, wanted, deadline_s, of)
        except NotAdmittedError:
            return None
        return judge.grade(answers.read(wanted.operation, found.pieces, stream=False).text)


def _wanted(model: str, task: Task, said: Said, hints: Hints) -> ModelRequest:
    """What the judge is asked about one answer; what the caller denies for privacy is denied to it, too."""
    body = {
        "model": model,
        "messages": judge.messages(task, "", said.text or said.refusal, answer_first=True),
        "max_completion_tokens": judge.ANSWER_TOKENS,
    }
    denied = Hints(
        denied_providers=hints.denied_providers,
        denied_regions=hints.denied_regions,
        # The operator's texts are for callers' conversations, and would stand before what the judge is told to do.
        system_prompts=False,
    )
    return replace(chat_request.parse(orjson.dumps(body)), hints=denied)


def _task(messages: Sequence[chat_pb2.Message]) -> Task | None:
    """What was asked, as far as a decision reads it; None where there is no text."""
    said = tuple(
        Message.model_validate({"role": ROLES.get(one.role, "user"), "content": one.text})
        for one in messages
        if one.text
    )
    return Task(messages=said) if said else None

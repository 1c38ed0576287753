"""What a request for a stored prompt is made of, where an experiment divides conversations among its versions."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from services.chassis import errors
from services.gateway.experiments import assignment
from services.gateway.keys.permissions import Caller
from services.gateway.prompts import content
from services.gateway.prompts.content import Content, Kind, Recipe
from services.gateway.prompts.expander import RequestExpander
from services.gateway.prompts.library import PromptLibrary
from services.gateway.prompts.reference import Reference
from services.gateway.requests.assignment import Assignment
from tests.gateway.experiments.test_assignment import CALLER, live

VERSIONS = ({"name": "a", "prompt_version": "1"}, {"name": "b", "prompt_version": "2"})
LIVE = live(*VERSIONS, prompt="greeting", sticky="conversation")
SAID = content.parse({"messages": [{"role": "system", "content": "Be kind."}]}, Kind.PROMPT)

NEEDY = content.parse(
    {"messages": [{"role": "user", "content": "I am {{name}}."}], "variables": {"name": {"type": "string"}}},
    Kind.PROMPT,
)


class OnePrompt(PromptLibrary):
    """Has one prompt, whose versions are alike."""

    def __init__(self, said: Content = SAID) -> None:
        self._said = said

    async def recipe(self, caller: Caller, wanted: Reference) -> Recipe:
        return Recipe("pr-1", "greeting", 1, self._said)


class OneExperiment:
    """Divides its conversations."""

    def of_prompt(
        self, caller: Caller, wanted: Reference, body: Mapping[str, Any]
    ) -> tuple[Assignment, Reference] | None:
        found = assignment.of_prompt([LIVE], caller, wanted.prompt, body)
        return None if found is None else (found[0], Reference(wanted.prompt, found[1]))


EXPANDER = RequestExpander(OnePrompt(), OneExperiment())


async def unit(text: str, *, kept: bool, **more: Any) -> int | None:
    body = orjson.dumps({"prompt": {"id": "greeting"}, "input": text, **more})
    _, made = await EXPANDER.response(CALLER, body, kept=kept)
    assert made.assignment is not None
    return made.assignment.unit


async def test_a_conversation_that_goes_on_from_a_kept_response_stays_with_its_variant() -> None:
    first = await unit("Hello", kept=True)

    assert first == await unit("And then?", kept=True, previous_response_id="resp_1")
    assert first == await unit("At last?", kept=True, previous_response_id="resp_2", store=False)


async def test_conversations_that_say_all_that_was_said_are_divided() -> None:
    ways: list[dict[str, Any]] = [{"kept": False}, {"kept": True, "store": False}]
    for more in ways:
        first = await unit("Hello", **more)
        assert first != await unit("Good morning", **more)
        said = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "And then?"},
        ]
        assert first == await unit("Hello", **{**more, "input": said})


async def test_a_variants_version_that_cannot_be_filled_is_told_where_requests_are_measured() -> None:
    told: list[tuple[str, str, str]] = []

    def unfit(caller: Caller, version: str, assigned: Assignment, fault: errors.Fault) -> None:
        told.append((version, assigned.variant, fault.reason))

    needy = RequestExpander(OnePrompt(NEEDY), OneExperiment(), unfit)
    body = orjson.dumps({"prompt": {"id": "greeting"}})
    with pytest.raises(errors.Invalid, match="name"):
        await needy.unmeasured().chat(CALLER, body)
    assert not told
    with pytest.raises(errors.Invalid, match="name"):
        await needy.chat(CALLER, body)
    with pytest.raises(errors.Invalid, match="name"):
        await needy.response(CALLER, body, kept=False)
    with pytest.raises(errors.Invalid, match="name"):
        await RequestExpander(OnePrompt(NEEDY), unfit=unfit).chat(CALLER, body)

    # Whether all variants cannot be filled, or one: each counts its own.
    assert 2 == len(told)
    assert {("greeting@1", "INVALID_REQUEST")} == {(version, reason) for version, _, reason in told}
    assert {variant for _, variant, _ in told} <= {"a", "b"}

"""The page of replays: what it takes, and what it says of mistakes."""

from collections.abc import Callable
from typing import Any

import pytest

from services.chassis import errors
from tests.gateway.dashboard.conftest import ADMIN_KEY, CSRF, EVIL, Peers

PATH = "/dashboard/replay"


async def posted(one: Any, **fields: str) -> Any:
    found = CSRF.search((await one.get(PATH)).text)
    assert found is not None
    return await one.post(PATH, data={"csrf": found[1], "days": "7", **fields})


@pytest.mark.parametrize("days", ["1", "92"])
async def test_a_replay_is_asked_for_and_says_what_it_found(browser: Callable[..., Any], days: str) -> None:
    async with browser(ADMIN_KEY) as one:
        answer = await posted(one, days=days, powerful_share="0.2", plan="pro", classifier_version="deep")

    assert 200 == answer.status_code
    assert "No request could be replayed; 0 were left out." in answer.text
    assert 'value="0.2"' in answer.text
    assert 'value="deep"' in answer.text
    assert "<option selected>pro</option>" in answer.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"days": "0"}, "days: expected a whole number from 1 to 92"),
        ({"days": "93"}, "days: expected a whole number from 1 to 92"),
        ({"days": "٣"}, "days: expected a whole number from 1 to 92"),
        ({"powerful_share": "1.5"}, "powerful_share: expected a number from 0 to 1"),
        ({"powerful_share": "nan"}, "powerful_share: expected a number from 0 to 1"),
        ({"lumni_yaml": "plans: {one: {rpm: many}}"}, "lumni.yaml:1"),
    ],
)
async def test_a_mistake_is_named_and_the_form_keeps_what_was_typed(
    browser: Callable[..., Any], fields: dict[str, str], message: str
) -> None:
    async with browser(ADMIN_KEY) as one:
        answer = await posted(one, plan=EVIL, **fields)

    assert 400 == answer.status_code
    assert message in answer.text
    assert all(value in answer.text for value in fields.values())
    assert "<script>alert" not in answer.text


async def test_a_selector_that_is_down_is_said(browser: Callable[..., Any], peers: Peers) -> None:
    peers.fault = errors.Unavailable("the selector cannot be asked")
    async with browser(ADMIN_KEY) as one:
        answer = await posted(one)

    assert (503, True) == (answer.status_code, "the selector cannot be asked" in answer.text)

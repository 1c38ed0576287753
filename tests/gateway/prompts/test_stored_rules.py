"""System prompts of the operator that stored prompts say: read at the start, followed, and never lost."""

import logging

import pytest

from services.chassis import redis
from services.chassis.config import Mistakes
from services.chassis.errors import Conflict
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.owners import OwnerStore
from services.gateway.prompts import content
from services.gateway.prompts.content import Kind
from services.gateway.prompts.reference import Reference
from services.gateway.prompts.store import PromptStore
from services.gateway.prompts.stored_rules import StoredRules
from services.gateway.prompts.system_prompts import Configured, Rule, Stored, SystemPrompts
from tests.gateway.conftest import eventually

HOUSE = Reference("house-style")
CONFIGURED = Configured(SystemPrompts(languages={"fr": "Vous."}), {"base": Stored(HOUSE, {"tone": "warm"})})


@pytest.fixture
def store(pool: postgres.Pool, client: redis.Redis) -> PromptStore:
    return PromptStore(KeyDatabase(pool, client), Live(CONFIGURED))


def said(text: str, *, role: str = "system", **variables: str) -> content.Content:
    declared = {name: {"type": kind} for name, kind in variables.items()}
    return content.parse({"messages": [{"role": role, "content": text}], "variables": declared}, Kind.PROMPT)


async def made(store: PromptStore, text: str = "Be {{tone}}.") -> str:
    row = await store.create("eve", name="house-style", kind=Kind.PROMPT, content=said(text, tone="string"))
    return str(row["prompt_id"])


async def test_a_label_that_moves_counts_and_what_cannot_be_taken_leaves_the_last_good_text(
    store: PromptStore, pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    ident = await made(store)
    rules = StoredRules(pool, Live(CONFIGURED))
    async with rules.following():
        # From the first request on.
        first = [
            Rule("base", "Be warm.", "house-style@1"),
            Rule("language:fr", "Vous."),
        ]
        assert first == list(rules.texts.current.rules)

        await store.add_version("eve", ident, 1, said("Be so {{tone}}.", tone="string"), label="production")
        await eventually(lambda: _is(rules, "Be so warm."))

        await store.add_version("eve", ident, 2, said("Hi {{name}}", name="string"), label="production")
        await eventually(lambda: _logged(caplog, "base keeps the text of house-style@2"))
        assert "Be so warm." == rules.texts.current.base
        assert "name" in caplog.text

        await store.roll_back("eve", ident, 3, "production")
        await eventually(lambda: _logged(caplog, "base is read again: house-style@2"))
    assert 1 == sum("keeps the text" in one.getMessage() for one in caplog.records)


async def test_the_gateway_does_not_start_without_a_text_that_it_is_to_add(
    store: PromptStore, pool: postgres.Pool
) -> None:
    async def mistake(configured: Configured = CONFIGURED) -> str:
        with pytest.raises(Mistakes) as caught:
            async with StoredRules(pool, Live(configured)).following():
                pass
        return str(caught.value)

    assert "lumni.yaml: system_prompts: base: there is no prompt 'house-style'" in await mistake()
    # An organization's own is nobody else's.
    await OwnerStore(store._database).put_organization("eve", "acme", {})
    await store.create("eve", name="house-style", kind=Kind.PROMPT, content=said("A"), organization_id="acme")
    assert "there is no prompt" in await mistake()

    ident = await made(store)
    assert "tone" in await mistake(Configured(stored={"base": Stored(HOUSE)}))
    assert "no version canary" in await mistake(
        Configured(stored={"base": Stored(Reference("house-style", "canary"))})
    )
    await store.add_version("eve", ident, 1, said("I am new.", role="user"), label="production")
    assert "house-style@2: a system prompt has messages of the system's" in await mistake(
        Configured(stored={"base": Stored(HOUSE)})
    )


async def test_what_a_system_prompt_says_is_not_taken_away(store: PromptStore) -> None:
    ident = await made(store)
    with pytest.raises(Conflict, match="names house-style@production") as caught:
        await store.delete("eve", ident, 1)
    assert "PROMPT_IN_USE" == caught.value.reason
    other = await store.create("eve", name="other", kind=Kind.PROMPT, content=said("A"))
    await store.delete("eve", other["prompt_id"], 1)


async def _is(rules: StoredRules, text: str) -> bool:
    return rules.texts.current.base == text


async def _logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in one.getMessage() and one.levelno == logging.WARNING for one in caplog.records)


async def test_a_changed_file_leaves_the_text_of_before_until_the_new_one_is_read(
    store: PromptStore, pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    configured = Live(Configured(SystemPrompts(base="Give no advice.")))
    rules = StoredRules(pool, configured)
    async with rules.following():
        configured.replace(CONFIGURED)
        assert ("Give no advice.", {"fr": "Vous."}) == (
            rules.texts.current.base,
            rules.texts.current.languages,
        )
        await eventually(lambda: _logged(caplog, "base keeps the text of before: there is no prompt"))

        await made(store)
        await eventually(lambda: _is(rules, "Be warm."))
        # One that the file says itself counts at once.
        configured.replace(Configured(SystemPrompts(base="Be brief.")))
        assert "Be brief." == rules.texts.current.base

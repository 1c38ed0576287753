"""The prompt store in a real PostgreSQL, and what callers get of it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.chassis import redis
from services.chassis.errors import Conflict, Invalid, NotFound
from services.gateway import postgres
from services.gateway.config.plans import Plans
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.permissions import Caller, without_row
from services.gateway.prompts import content, library, reference
from services.gateway.prompts.content import Content, Kind
from services.gateway.prompts.library import PromptLibrary
from services.gateway.prompts.store import PromptStore


@pytest.fixture
def database(pool: postgres.Pool, client: redis.Redis) -> KeyDatabase:
    return KeyDatabase(pool, client)


@pytest.fixture
def store(database: KeyDatabase) -> PromptStore:
    return PromptStore(database)


@pytest.fixture
def prompts(pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch) -> PromptLibrary:
    """One that remembers nothing, so that tests need not wait."""
    monkeypatch.setattr(library, "REMEMBERED_S", 0.0)
    return PromptLibrary(pool)


@pytest.fixture
def caller(configured: Plans) -> Caller:
    return replace(without_row("ann", configured.default, is_admin=False), organization_id="acme")


def said(text: str) -> Content:
    return content.parse({"messages": [{"role": "user", "content": text}]}, Kind.PROMPT)


async def make(
    store: PromptStore, name: str, text: str, organization_id: str | None = None
) -> dict[str, Any]:
    return await store.create(
        "admin", name=name, kind=Kind.PROMPT, content=said(text), organization_id=organization_id
    )


async def text_of(prompts: PromptLibrary, caller: Caller, name: str) -> str:
    found = await prompts.recipe(caller, reference.parse(name))
    return str(found.render({})["messages"][0]["content"])


async def test_versions_labels_and_the_way_back(
    store: PromptStore, prompts: PromptLibrary, caller: Caller
) -> None:
    made = await make(store, "greeting", "one")
    ident = made["prompt_id"]
    second = await store.add_version("admin", ident, 1, said("two"), label="staging")
    third = await store.add_version("admin", ident, second["revision"], said("three"))

    assert {"production": 1, "staging": 2} == third["labels"]
    assert ["one", "two", "three", "one", "two"] == [
        await text_of(prompts, caller, f"greeting{which}")
        for which in ("", "@staging", "@latest", "@1", "@2")
    ]

    moved = await store.set_label("admin", ident, third["revision"], "production", 3)
    assert "three" == await text_of(prompts, caller, ident)
    back = await store.roll_back("admin", ident, moved["revision"], "production")
    assert "one" == await text_of(prompts, caller, ident)
    with pytest.raises(Conflict) as caught:
        await store.roll_back("admin", ident, back["revision"], "production")
    assert "NOTHING_TO_ROLL_BACK" == caught.value.reason


async def test_of_admins_who_edit_at_once_one_is_told_and_nothing_is_lost(store: PromptStore) -> None:
    made = await make(store, "greeting", "one")
    ident = made["prompt_id"]

    outcomes = await asyncio.gather(
        *(store.add_version(f"admin{i}", ident, made["revision"], said(f"edit {i}")) for i in range(8)),
        return_exceptions=True,
    )

    changed = [one for one in outcomes if isinstance(one, dict)]
    refused = [one for one in outcomes if isinstance(one, Conflict)]
    assert (1, 7) == (len(changed), len(refused))
    assert {"PROMPT_CHANGED"} == {one.reason for one in refused}
    # Each of them reads what the others did, and goes on from there.
    waiting = set(range(8)) - {outcomes.index(changed[0])}
    for i in waiting:
        now = await store.get(ident)
        await store.add_version(f"admin{i}", ident, now["revision"], said(f"edit {i}"))
    texts = {
        (await store.version(ident, one["version"]))["content"]["messages"][0]["content"]
        for one in await store.versions(ident, 2**31 - 1, 100)
    }
    assert {"one", *(f"edit {i}" for i in range(8))} == texts


async def test_every_kind_of_change_needs_the_revision_that_was_seen(store: PromptStore) -> None:
    ident = (await make(store, "greeting", "one"))["prompt_id"]
    await store.add_version("admin", ident, 1, said("two"))

    for change in (
        store.add_version("late", ident, 1, said("x")),
        store.set_label("late", ident, 1, "staging", 1),
        store.remove_label("late", ident, 1, "staging"),
        store.roll_back("late", ident, 1, "production"),
        store.delete("late", ident, 1),
    ):
        with pytest.raises(Conflict, match="is at 2, not 1"):
            await change
    assert 2 == (await store.get(ident))["newest"]


async def test_the_trail_tells_each_change(store: PromptStore, database: KeyDatabase) -> None:
    ident = (await make(store, "greeting", "one"))["prompt_id"]
    await store.add_version("bob", ident, 1, said("two"), note="shorter")
    await store.set_label("bob", ident, 2, "production", 2)
    await store.roll_back("eve", ident, 3, "production")
    await store.delete("eve", ident, 4)

    events = await AuditTrail(database).newest(f"prompt:{ident}", 10)

    assert [
        ("admin", "prompt.create"),
        ("bob", "prompt.version"),
        ("bob", "prompt.label"),
        ("eve", "prompt.roll_back"),
        ("eve", "prompt.delete"),
    ] == [(one["actor"], one["action"]) for one in reversed(events)]
    assert (2, 1) == (events[1]["detail"]["from"], events[1]["detail"]["to"])


async def test_an_organization_sees_its_own_prompts_and_those_of_nobody(
    store: PromptStore, prompts: PromptLibrary, database: KeyDatabase, caller: Caller
) -> None:
    for organization in ("acme", "rival"):
        await OwnerStore(database).put_organization("admin", organization, {})
    await make(store, "greeting", "everybody's")
    await make(store, "greeting", "acme's", "acme")
    secret = await make(store, "secret", "rival's", "rival")
    partial = content.parse({"text": "rival's partial"}, Kind.PARTIAL)
    await store.create("admin", name="sign", kind=Kind.PARTIAL, content=partial, organization_id="rival")
    await make(store, "borrowing", "{{> sign}}", "acme")

    assert "acme's" == await text_of(prompts, caller, "greeting")
    stranger = replace(caller, organization_id="")
    assert "everybody's" == await text_of(prompts, stranger, "greeting")
    for name in ("secret", secret["prompt_id"], "sign", "borrowing"):
        for one in (caller, stranger):
            with pytest.raises(NotFound):
                await text_of(prompts, one, name)


async def test_a_partial_changes_with_its_label_unless_a_version_is_named(
    store: PromptStore, prompts: PromptLibrary, caller: Caller
) -> None:
    def partial(text: str) -> Content:
        return content.parse({"text": text}, Kind.PARTIAL)

    made = await store.create("admin", name="house", kind=Kind.PARTIAL, content=partial("old"))
    await make(store, "loose", "{{> house}}")
    await make(store, "fixed", "{{> house@1}}")

    await store.add_version("admin", made["prompt_id"], 1, partial("new"), label="production")

    assert "new" == await text_of(prompts, caller, "loose")
    assert "old" == await text_of(prompts, caller, "fixed")


async def test_known_prompts_are_used_while_postgresql_does_not_answer(
    store: PromptStore, prompts: PromptLibrary, pool: postgres.Pool, caller: Caller
) -> None:
    await make(store, "greeting", "one")
    await text_of(prompts, caller, "greeting")

    await pool.close()

    assert "one" == await text_of(prompts, caller, "greeting")


async def test_names_are_taken_once_and_organizations_exist(store: PromptStore) -> None:
    await make(store, "greeting", "one")

    with pytest.raises(Conflict):
        await make(store, "greeting", "two")
    with pytest.raises(Invalid):
        await make(store, "pr-other", "two")
    with pytest.raises(Invalid):
        await make(store, "greeting", "two", "nobody")


async def test_a_partial_that_stored_prompts_name_cannot_be_deleted(
    store: PromptStore, database: KeyDatabase
) -> None:
    def partial(organization_id: str | None = None) -> Any:
        text = content.parse({"text": "be kind"}, Kind.PARTIAL)
        return store.create(
            "admin", name="house.rules", kind=Kind.PARTIAL, content=text, organization_id=organization_id
        )

    for organization in ("acme", "rival"):
        await OwnerStore(database).put_organization("admin", organization, {})
    shared, acmes = await partial(), await partial("acme")
    ident = shared["prompt_id"]
    await make(store, "greeting", "{{>\n house.rules@1 }}")
    await make(store, "parting", f"{{{{> {ident}}}}}", "acme")
    await make(store, "rivals", "{{> house.rules}}", "rival")
    # None of these names it: acme's own goes before it, and the others only look like it.
    await make(store, "own", "{{> house.rules}}", "acme")
    await make(store, "others", "{{> house.rules2}} {{> houseXrules}} {{> my-house.rules}}")

    with pytest.raises(Conflict, match=r"named by versions of greeting, parting, rivals; ") as caught:
        await store.delete("admin", ident, 1)
    assert "PARTIAL_IN_USE" == caught.value.reason
    with pytest.raises(Conflict, match="named by versions of own; "):
        await store.delete("admin", acmes["prompt_id"], 1)

    for name, organization_id in (("greeting", None), ("parting", "acme"), ("rivals", "rival")):
        await store.delete("admin", (await store.get(name, organization_id))["prompt_id"], 1)
    await store.delete("admin", ident, 1)

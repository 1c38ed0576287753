"""Experiments in a real PostgreSQL: their life, their results from the ledger, and the guard."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2

from services.chassis import redis
from services.chassis.errors import Conflict, Invalid, NotFound
from services.gateway import postgres
from services.gateway.experiments import definition
from services.gateway.experiments.conclusion import METRICS
from services.gateway.experiments.definition import Definition
from services.gateway.experiments.guard import Guard
from services.gateway.experiments.live import LiveExperiments
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.store import ExperimentStore
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.owners import OwnerStore
from services.gateway.ledger import event_rows
from services.gateway.ledger.store import LedgerStore
from services.gateway.prompts import content
from services.gateway.prompts.content import Kind
from services.gateway.prompts.expander import RequestExpander
from services.gateway.prompts.library import PromptLibrary
from services.gateway.prompts.store import PromptStore
from services.gateway.reports.readers import Readers
from services.gateway.requests.request_ids import request_id
from tests.gateway.experiments.test_assignment import CALLER, chat
from tests.gateway.money import FAILED, FINAL, PARTIAL, event


@pytest.fixture
def database(pool: postgres.Pool, client: redis.Redis) -> KeyDatabase:
    return KeyDatabase(pool, client)


@pytest.fixture
def store(database: KeyDatabase) -> ExperimentStore:
    return ExperimentStore(database)


def described(name: str = "test", *, control: str = "a", **more: Any) -> Definition:
    return definition.parse({"name": name, "variants": [{"name": control}, {"name": "b"}], **more})


async def write(
    pool: postgres.Pool,
    experiment_id: str,
    variant: str,
    costs: list[int],
    *,
    failed: int = 0,
    started_us: int = 0,
) -> None:
    """Book a request of a user of its own for each cost, in nano-USD; of the first so many every attempt failed."""
    events = []
    for unit, cost in enumerate(costs):
        one = event(
            FAILED if unit < failed else FINAL,
            request=request_id(),
            cost=0 if unit < failed else cost,
            started_us=started_us,
        )
        one.context.assignment.CopyFrom(
            chat_pb2.Assignment(experiment_id=experiment_id, variant=variant, unit=unit)
        )
        events.append(event_rows.usage(one.SerializeToString()))
    await LedgerStore(pool).write(events)


async def test_an_experiment_goes_through_its_life_and_the_trail_tells(
    store: ExperimentStore, database: KeyDatabase, pool: postgres.Pool
) -> None:
    live = LiveExperiments(pool)

    async def variant() -> str | None:
        await live.read()
        found = live.of_request(CALLER, chat()).assignment
        return None if found is None else found.variant

    ident = (await store.create("eve", described()))["experiment_id"]
    with pytest.raises(Conflict, match="choose another name"):
        await store.create("eve", described())
    assert await variant() is None
    for action in ("stop", "promote", "roll_back"):
        with pytest.raises(Conflict, match="is draft"):
            await store.change("eve", ident, action, "b")

    assert "running" == (await store.change("eve", "test", "start"))["state"]
    assert await variant() in ("a", "b")
    with pytest.raises(Conflict, match="stop it"):
        await store.delete("eve", ident)
    with pytest.raises(NotFound, match="known: a, b"):
        await store.change("bob", ident, "promote", "c")
    await store.change("bob", ident, "promote", "b")
    assert "b" == await variant()
    back = await store.change("bob", ident, "roll_back")
    assert ("stopped", "") == (back["state"], back["promoted"])
    assert await variant() is None
    await store.delete("bob", ident)

    events = await AuditTrail(database).newest(f"experiment:{ident}", 10)
    assert [
        ("eve", "experiment.create"),
        ("eve", "experiment.start"),
        ("bob", "experiment.promote"),
        ("bob", "experiment.roll_back"),
        ("bob", "experiment.delete"),
    ] == [(one["actor"], one["action"]) for one in reversed(events)]


async def test_an_experiment_ends_with_its_last_variant(store: ExperimentStore) -> None:
    three = definition.parse({"name": "three", "variants": [{"name": name} for name in "abc"]})
    ident = (await store.create("eve", three))["experiment_id"]
    with pytest.raises(Conflict, match="not running"):
        await store.stop_variant("guard", ident, "b", "too dear")
    await store.change("eve", ident, "start")
    with pytest.raises(Invalid, match="the control cannot be stopped"):
        await store.stop_variant("guard", ident, "a", "too dear")

    one = await store.stop_variant("guard", ident, "b", "too dear")
    assert ("running", {"b": "too dear"}) == (one["state"], one["stopped"])
    assert one == await store.stop_variant("guard", ident, "b", "again")
    assert "stopped" == (await store.stop_variant("guard", ident, "c", "fails"))["state"]


async def test_a_version_of_a_prompt_must_be_there(store: ExperimentStore, database: KeyDatabase) -> None:
    prompts = PromptStore(database)
    said = content.parse({"messages": [{"role": "user", "content": "Hi"}]}, Kind.PROMPT)
    made = await prompts.create("eve", name="greeting", kind=Kind.PROMPT, content=said)
    await prompts.add_version("eve", made["prompt_id"], 1, said, label="staging")

    def about(prompt: str, version: str) -> Definition:
        versions = [{"name": "a", "prompt_version": "1"}, {"name": "b", "prompt_version": version}]
        return definition.parse({"name": "test", "prompt": prompt, "variants": versions})

    for prompt, version, param in (
        ("greeting", "3", "variants[1].prompt_version"),
        ("greeting", "canary", "variants[1].prompt_version"),
        ("parting", "1", "prompt"),
    ):
        with pytest.raises(Invalid) as caught:
            await store.create("eve", about(prompt, version))
        assert param == caught.value.param
    await store.create("eve", about("greeting", "staging"))


async def test_an_organizations_own_prompt_takes_no_part_in_an_experiment_about_another_of_its_name(
    store: ExperimentStore, database: KeyDatabase, pool: postgres.Pool
) -> None:
    prompts, live = PromptStore(database), LiveExperiments(pool)
    await OwnerStore(database).put_organization("eve", "acme", {})
    ids = []
    for organization in (None, "acme"):
        said = content.parse({"messages": [{"role": "user", "content": f"{organization}"}]}, Kind.PROMPT)
        made = await prompts.create(
            "eve", name="greeting", kind=Kind.PROMPT, content=said, organization_id=organization
        )
        await prompts.add_version("eve", made["prompt_id"], 1, said)
        ids.append(made["prompt_id"])
    versions = [{"name": "a", "prompt_version": "2"}, {"name": "b", "prompt_version": "latest"}]
    about = definition.parse({"name": "test", "prompt": "greeting", "variants": versions})
    await store.create("eve", about)
    await store.change("eve", "test", "start")
    await live.read()
    expander = RequestExpander(PromptLibrary(pool), live)

    async def got(organization: str, prompt: str) -> tuple[str, bool]:
        caller = replace(CALLER, organization_id=organization)
        request = await expander.chat(caller, orjson.dumps({"prompt": {"id": prompt}}))
        return f"{request.body['messages'][0]['content']}: {request.prompt}", request.assignment is not None

    assert ("None: greeting@2", True) == await got("other", "greeting")
    assert ("acme: greeting@1", False) == await got("acme", "greeting")
    assert ("acme: greeting@1", False) == await got("acme", ids[1])
    # Whatever the request calls the prompt.
    assert ("None: greeting@2", True) == await got("acme", ids[0])
    assert ("None: greeting@1", False) == await got("other", "greeting@1")


async def test_results_are_those_of_the_ledger(store: ExperimentStore, pool: postgres.Pool) -> None:
    row = await store.create("eve", described(control="old"))
    ident = row["experiment_id"]
    await write(pool, ident, "old", [2_000_000 + 1000 * i for i in range(150)])
    await write(pool, ident, "b", [1_000_000 + 1000 * i for i in range(150)], failed=3)
    await write(pool, "another", "b", [9_000_000_000])

    found = await ExperimentResults(Readers(pool)).of(row)
    control, variant = found["variants"]
    assert ("old", 150, 150) == (control["name"], control["requests"], control["units"])
    assert pytest.approx(0.0020745) == control["cost_usd"]["mean"]
    assert pytest.approx(3 / 150) == variant["error_share"]["mean"]
    assert (0, None) == (variant["feedback"]["requests"], variant["feedback"]["mean"])
    low, high = variant["cost_usd"]["difference"]
    assert low < -0.001 < high < 0
    assert "b" == found["winner"]
    assert found["conclusion"].startswith("b costs less than old: 0.0009")
    assert METRICS.keys() < variant.keys()


async def test_a_request_has_failed_unless_it_was_answered_whole_or_left(
    store: ExperimentStore, pool: postgres.Pool
) -> None:
    row = await store.create("eve", described())
    attempts = (
        ((FINAL, ""),),
        ((PARTIAL, "timeout"), (FINAL, "")),
        ((PARTIAL, "cancelled"),),
        ((PARTIAL, "timeout"),),
        ((PARTIAL, "connection"), (PARTIAL, "server_error")),
    )
    events = []
    for unit, outcomes in enumerate(attempts):
        ident = request_id()
        for number, (kind, error) in enumerate(outcomes):
            one = event(kind, request=ident, number=number)
            one.attempt.error_class = error
            one.context.assignment.CopyFrom(
                chat_pb2.Assignment(experiment_id=row["experiment_id"], variant="b", unit=unit)
            )
            events.append(event_rows.usage(one.SerializeToString()))
    await LedgerStore(pool).write(events)

    variant = (await ExperimentResults(Readers(pool)).of(row))["variants"][1]
    assert (5, 2 / 5) == (variant["requests"], variant["error_share"]["mean"])


def decided(experiment_id: str, variant: str, unit: int, refusal: str) -> events_pb2.DecisionEvent:
    """What the gateway publishes of a request that it decided about."""
    context = chat_pb2.RequestContext(
        request_id=request_id(),
        assignment=chat_pb2.Assignment(experiment_id=experiment_id, variant=variant, unit=unit),
    )
    return events_pb2.DecisionEvent(context=context, refusal=refusal, decided_unix_ms=1_790_000_000_000)


async def test_requests_that_reach_no_provider_count_as_failed_and_stop_their_variant(
    store: ExperimentStore, pool: postgres.Pool
) -> None:
    ident = (await store.create("eve", described()))["experiment_id"]
    await store.change("eve", ident, "start")
    await write(pool, ident, "a", [1000 + i for i in range(150)])
    refused = [decided(ident, "b", unit, "NO_HEALTHY_DEPLOYMENT") for unit in range(150)]
    # What a caller's limits refuse says nothing of a variant, and who was admitted is known by his attempts.
    others = [
        decided(ident, "a", 7, refusal) for refusal in ("RATE_LIMIT_EXCEEDED", "INSUFFICIENT_QUOTA", "")
    ]
    # Some were admitted before, which is told first, last, or in the same batch.
    admitted = []
    for one in refused[:100]:
        before = events_pb2.DecisionEvent()
        before.CopyFrom(one)
        before.refusal = ""
        admitted.append(before)
    ledger = LedgerStore(pool)
    for batch in (admitted[:50], refused, [*admitted[50:], *others]):
        await ledger.write_decisions([event_rows.decision(one.SerializeToString()) for one in batch])
    await ledger.write_decisions(
        [event_rows.decision(one.SerializeToString()) for one in (*admitted, *refused)]
    )

    found = await ExperimentResults(Readers(pool)).of(await store.get(ident))
    control, variant = found["variants"]
    assert (150, 0) == (control["requests"], control["error_share"]["mean"])
    assert (150, 150, 1) == (variant["requests"], variant["units"], variant["error_share"]["mean"])
    assert (0, None) == (variant["cost_usd"]["requests"], variant["cost_usd"]["mean"])
    await Guard(pool, store).check()
    assert "fails more often" in (await store.get(ident))["stopped"]["b"]


async def test_an_experiment_that_cannot_be_read_takes_nothing_from_the_others(
    store: ExperimentStore, pool: postgres.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("unread", "test"):
        ident = (await store.create("eve", described(name)))["experiment_id"]
        await store.change("eve", ident, "start")
    # The guard takes experiments by their ids.
    await pool.execute(
        "UPDATE experiments SET experiment_id = 'ex-', definition = definition || '{\"colour\": 1}' WHERE name = 'unread'"
    )
    for variant in ("a", "b"):
        await write(pool, ident, variant, [1000 + i for i in range(150)], failed=75 if variant == "b" else 0)

    live, guard = LiveExperiments(pool), Guard(pool, store)
    async with live.following():
        # From the first request on.
        found = live.of_request(CALLER, chat()).assignment
    await live.read()
    await guard.check()
    await guard.check()

    assert found is not None
    assert "test" == found.experiment
    assert "stopped" == (await store.get(ident))["state"]
    lines = [one.getMessage() for one in caplog.records if "unread" in one.getMessage()]
    assert [
        "no request takes part in the experiment unread: colour: unknown",
        "experiment unread: guardrails cannot be checked: Invalid: colour: unknown",
    ] == [line.partition(";")[0] for line in lines]


async def test_the_guard_stops_what_fails_or_costs_too_much(
    store: ExperimentStore, database: KeyDatabase, pool: postgres.Pool
) -> None:
    guard = Guard(pool, store)
    names = ("a", "failing", "dear", "good")
    wanted = {"error_increase": 0.05, "cost_increase": 0.5}
    variants = [{"name": name} for name in names]
    row = await store.create(
        "eve", definition.parse({"name": "test", "variants": variants, "guardrails": wanted})
    )
    ident = row["experiment_id"]
    await store.change("eve", ident, "start")
    await guard.check()
    for name in names:
        cost = 5_000_000 if name == "dear" else 2_000_000
        costs = [cost + 1000 * i for i in range(150)]
        await write(pool, ident, name, costs, failed=75 if name == "failing" else 1)
    await guard.check()
    await guard.check()

    now = await store.get(ident)
    assert ("running", {"failing", "dear"}) == (now["state"], now["stopped"].keys())
    assert "it fails more often than the control by at least " in now["stopped"]["failing"]
    assert "it costs more than the control by over 50 % of that one's cost" == now["stopped"]["dear"]
    events = await AuditTrail(database).newest(f"experiment:{ident}", 10)
    stopped = [
        (one["actor"], one["detail"]["variant"]) for one in events if one["action"].endswith("_variant")
    ]
    assert [("guardrail", "failing"), ("guardrail", "dear")] == stopped[::-1]

"""Experiments: described and started by an admin, and what callers, providers and the ledger see of them."""

from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson
import pytest
from lumni.gateway.v1 import experiments_pb2 as pb
from lumni.gateway.v1 import experiments_pb2_grpc

from tests.flow.stack import ADMIN_KEY, API_KEY, Stack
from tests.flow.test_cli import lumni
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PATH = "/admin/experiments"


async def ask(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": text}], **more}
    answer = await client.post("/v1/chat/completions", json=body)
    assert 200 == answer.status_code, answer.text
    return answer.json()["lumni"]  # type: ignore[no-any-return]


async def a_user(stack: Stack, admin: httpx.AsyncClient, name: str, organization: str) -> httpx.AsyncClient:
    """A client with a key of its own, whose requests alone take part in an experiment of its organization."""
    await admin.put(f"/admin/organizations/{organization}", json={})
    made = await admin.post("/admin/keys", json={"user_id": name, "organization_id": organization})
    assert 201 == made.status_code, made.text
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    return httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60, trust_env=False)


async def test_variants_of_a_model_are_divided_recorded_promoted_and_taken_back(
    stack: Stack, admin: httpx.AsyncClient, provider: Simulator
) -> None:
    described = {
        "name": "models",
        "organization_id": "lab",
        "sticky": "conversation",
        "variants": [
            {"name": "control", "model": "small"},
            {"name": "dear", "model": "large", "parameters": {"temperature": 0.25}},
        ],
    }
    made = await admin.post(PATH, json=described)
    assert (201, "draft") == (made.status_code, made.json()["state"])
    twice = await admin.post(PATH, json=described)
    assert (409, "experiment_exists") == (twice.status_code, twice.json()["error"]["code"])
    async with await a_user(stack, admin, "ann", "lab") as client:
        assert (await ask(client, "before"))["experiment"] is None
        assert "running" == (await admin.post(f"{PATH}/models/start")).json()["state"]

        async def divided() -> bool:
            return (await ask(client, "begun?"))["experiment"] is not None

        await eventually(divided)
        answers = [await ask(client, f"Tell me about {i}.") for i in range(24)]
        counts = Counter(one["experiment"]["variant"] for one in answers)
        assert {"control", "dear"} == counts.keys()
        assert all(
            one["model"] == {"control": "small", "dear": "large"}[one["experiment"]["variant"]]
            for one in answers
        )
        seen = await provider.requests(last=24)
        warm = [one["model"] for one in seen if one["body"].get("temperature") == 0.25]
        assert counts["dear"] == warm.count("large")
        # Who asks for a model himself gets that.
        assert (await ask(client, "Mine.", model="small"))["experiment"] is None

        async def measured() -> bool:
            variants = (await admin.get(f"{PATH}/models/results")).json()["variants"]
            return bool(sum(one["requests"] for one in variants) >= 25)

        await eventually(measured)
        results = (await admin.get(f"{PATH}/models/results")).json()
        cost = {one["name"]: one["cost_usd"]["mean"] for one in results["variants"]}
        assert cost["dear"] > 5 * cost["control"] > 0
        assert results["conclusion"].startswith("Too little is known")

        await admin.post(f"{PATH}/models/promote", json={"variant": "dear"})

        async def promoted() -> bool:
            found = [(await ask(client, f"And {i}?"))["experiment"] for i in range(8)]
            return found == [{"name": "models", "variant": "dear"}] * 8

        await eventually(promoted)
        assert "stopped" == (await admin.post(f"{PATH}/models/roll-back")).json()["state"]

        async def as_before() -> bool:
            return (await ask(client, "after"))["experiment"] is None

        await eventually(as_before)
    late = await admin.post(f"{PATH}/models/start")
    assert (409, "experiment_state") == (late.status_code, late.json()["error"]["code"])
    assert (await admin.delete(f"{PATH}/models")).json()["deleted"]


async def test_a_variant_that_is_always_refused_counts_as_failed(
    stack: Stack, admin: httpx.AsyncClient
) -> None:
    variants = [{"name": "control", "model": "small"}, {"name": "broken", "model": "nowhere"}]
    described = {"name": "refused", "organization_id": "shop", "sticky": "conversation", "variants": variants}
    assert 201 == (await admin.post(PATH, json=described)).status_code
    await admin.post(f"{PATH}/refused/start")
    async with await a_user(stack, admin, "bo", "shop") as client:
        counts: Counter[int] = Counter()
        for i in range(200):
            body = {"messages": [{"role": "user", "content": f"Tell me about {i}."}]}
            counts[(await client.post("/v1/chat/completions", json=body)).status_code] += 1
            # Which of both comes first is a hash of what no test knows.
            if counts[404] >= 3 and counts[200]:
                break
    assert {200, 404} == counts.keys()

    async def counted() -> bool:
        results = (await admin.get(f"{PATH}/refused/results")).json()
        _, broken = results["variants"]
        assert (0, None) == (broken["cost_usd"]["requests"], broken["cost_usd"]["mean"])
        return bool((counts[404], 1) == (broken["requests"], broken["error_share"]["mean"]))

    await eventually(counted)
    assert "stopped" == (await admin.post(f"{PATH}/refused/stop")).json()["state"]
    assert (await admin.delete(f"{PATH}/refused")).json()["deleted"]


async def test_two_experiments_with_a_known_difference_end_with_the_right_winner(
    stack: Stack, admin: httpx.AsyncClient
) -> None:
    """One variant is dear, and the guard stops it by itself; in the other experiment answers are cut, and cost less."""
    variants: dict[str, list[dict[str, Any]]] = {
        "dear": [{"name": "control", "model": "small"}, {"name": "dear", "model": "large"}],
        "short": [{"name": "control"}, {"name": "short", "parameters": {"max_completion_tokens": 2}}],
    }
    for name, listed in variants.items():
        described = {
            "name": f"is-{name}",
            "organization_id": f"org-{name}",
            "sticky": "conversation",
            "variants": listed,
            "guardrails": {"cost_increase": 0.5},
        }
        assert 201 == (await admin.post(PATH, json=described)).status_code
        await admin.post(f"{PATH}/is-{name}/start")
    found: dict[str, dict[str, Any]] = {}
    for name, winner in (("dear", "control"), ("short", "short")):
        async with await a_user(stack, admin, f"user-{name}", f"org-{name}") as client:
            for batch in range(40):
                for i in range(25):
                    await ask(client, f"Tell me about {batch} and {i}.")
                found[name] = (await admin.get(f"{PATH}/is-{name}/results")).json()
                if found[name]["winner"]:
                    break
            assert winner == found[name]["winner"], found[name]["conclusion"]

    async def stopped() -> bool:
        return "dear" in (await admin.get(f"{PATH}/is-dear")).json()["stopped"]

    await eventually(stopped)
    told = (await admin.get("/admin/audit", params={"limit": 50})).json()["data"]
    assert ("guardrail", "dear") in [(one["actor"], one["detail"].get("variant")) for one in told]
    # It was the last variant beside the control, so that the experiment ended; the other one goes on.
    states = [(await admin.get(f"{PATH}/is-{name}")).json()["state"] for name in variants]
    assert ["stopped", "running"] == states
    await admin.post(f"{PATH}/is-short/stop")


async def test_versions_of_a_prompt_are_divided(
    stack: Stack, admin: httpx.AsyncClient, provider: Simulator
) -> None:
    def saying(text: str) -> dict[str, Any]:
        return {"model": "small", "messages": [{"role": "user", "content": text}]}

    async with await a_user(stack, admin, "eve", "press") as client:
        prompt = {"name": "headline", "organization_id": "press", "content": saying("long")}
        assert 201 == (await admin.post("/admin/prompts", json=prompt)).status_code
        version = {"content": saying("short"), "revision": 1}
        of = {"organization_id": "press"}
        assert (
            201 == (await admin.post("/admin/prompts/headline/versions", json=version, params=of)).status_code
        )
        described = {
            "name": "headlines",
            "organization_id": "press",
            "prompt": "headline",
            "sticky": "conversation",
            "variants": [{"name": "a", "prompt_version": "1"}, {"name": "b", "prompt_version": "latest"}],
        }
        assert 201 == (await admin.post(PATH, json=described)).status_code
        await admin.post(f"{PATH}/headlines/start")
        found: dict[str, tuple[str, str]] = {}
        numbers = count()

        async def both() -> bool:
            # Each is a conversation of its own, so that they fall to either variant.
            body = {"messages": [{"role": "user", "content": f"About {next(numbers)}."}]}
            answer = await client.post("/v1/prompts/headline/completions", json=body)
            lumni, (seen,) = answer.json()["lumni"], await provider.requests(last=1)
            if lumni["experiment"] is not None:
                said = seen["body"]["messages"][0]["content"]
                found[lumni["experiment"]["variant"]] = (lumni["prompt"], said)
            return len(found) == 2

        await eventually(both)
        assert {"a": ("headline@1", "long"), "b": ("headline@2", "short")} == found
        # A request that names a version gets it.
        named = await client.post("/v1/prompts/headline@1/completions", json={})
        assert ("headline@1", None) == (named.json()["lumni"]["prompt"], named.json()["lumni"]["experiment"])
    await admin.post(f"{PATH}/headlines/stop")


async def test_the_command_line_does_all_of_it(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "shares.yaml"
    file.write_text(
        "name: shares\norganization_id: nobody\ngoal: error_share\n"
        "variants:\n- {name: old}\n- {name: more, powerful_share: 0.5}\n- {name: less, powerful_share: 0.1}\n"
    )
    code, made, _ = await lumni(stack, "experiments", "create", str(file), "--start")
    assert (0, True) == (code, "running" in made)
    _, shown, _ = await lumni(stack, "experiments", "show", "shares")
    file.write_text(shown.replace("shares", "again"))
    assert 0 == (await lumni(stack, "experiments", "create", str(file)))[0]

    _, stopped, _ = await lumni(stack, "experiments", "stop-variant", "shares", "less", "--reason", "no need")
    assert ["stopped", "less"] in [line.split() for line in stopped.splitlines()]
    _, learnt, _ = await lumni(stack, "experiments", "results", "shares")
    assert "Too little is known: a variant says something from 100 requests of 30 users" in learnt
    assert "less was stopped: no need" in learnt
    for command, state in ((("promote", "shares", "more"), "promoted"), (("roll-back", "shares"), "stopped")):
        _, said, _ = await lumni(stack, "experiments", *command)
        assert ["state", state] in [line.split() for line in said.splitlines()]
    code, _, refused = await lumni(stack, "experiments", "start", "shares")
    assert 1 == code
    assert "lumni: the experiment shares is stopped; start needs one that is draft" in refused
    _, listed, _ = await lumni(stack, "experiments", "list")
    assert {"shares", "again"} <= {line.split()[0] for line in listed.splitlines() if line.strip()}
    for name in ("shares", "again"):
        assert 0 == (await lumni(stack, "experiments", "delete", name))[0]


async def test_grpc_does_all_of_it(stack: Stack) -> None:
    described = {"name": "calls", "organization_id": "nobody", "variants": [{"name": "a"}, {"name": "b"}]}
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub: Any = experiments_pb2_grpc.ExperimentServiceStub(channel)

        def of(message: Any, key: str = ADMIN_KEY) -> dict[str, Any]:
            return {"request": message, "metadata": (("authorization", f"Bearer {key}"),), "timeout": 60}

        async def change(what: str, variant: str = "") -> str:
            number = pb.ExperimentChange.Value(f"EXPERIMENT_CHANGE_{what}")
            wanted = pb.ChangeExperimentRequest(experiment="calls", change=number, variant=variant)
            done = await stub.ChangeExperiment(**of(wanted))
            return pb.ExperimentState.Name(done.experiment.state).removeprefix("EXPERIMENT_STATE_")

        text = orjson.dumps(described).decode()
        made = await stub.CreateExperiment(**of(pb.CreateExperimentRequest(definition_json=text)))
        assert made.experiment.experiment_id.startswith("ex-")
        assert "RUNNING" == await change("START")
        learnt = await stub.GetExperimentResults(**of(pb.GetExperimentResultsRequest(experiment="calls")))
        assert ("", True) == (learnt.winner, learnt.conclusion.startswith("Too little is known"))
        assert "PROMOTED" == await change("PROMOTE", "b")
        assert "STOPPED" == await change("ROLL_BACK")
        got = await stub.GetExperiment(**of(pb.GetExperimentRequest(experiment="calls")))
        assert got.experiment.ended_at.seconds >= got.experiment.started_at.seconds > 0
        for wanted, code in (
            (pb.ChangeExperimentRequest(experiment="calls"), grpc.StatusCode.INVALID_ARGUMENT),
            (
                pb.ChangeExperimentRequest(experiment="calls", change=pb.EXPERIMENT_CHANGE_STOP),
                grpc.StatusCode.ALREADY_EXISTS,
            ),
            (
                pb.ChangeExperimentRequest(experiment="none", change=pb.EXPERIMENT_CHANGE_STOP),
                grpc.StatusCode.NOT_FOUND,
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ChangeExperiment(**of(wanted))
            assert code == caught.value.code()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListExperiments(**of(pb.ListExperimentsRequest(), API_KEY))
        assert grpc.StatusCode.PERMISSION_DENIED == caught.value.code()
        await stub.DeleteExperiment(**of(pb.DeleteExperimentRequest(experiment="calls")))
        listed = await stub.ListExperiments(**of(pb.ListExperimentsRequest()))
        assert "calls" not in [one.name for one in listed.experiments]


async def test_experiments_are_for_admins_and_mistakes_are_named(
    http: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    assert 403 == (await http.get(PATH)).status_code
    wrong = await admin.post(
        PATH, json={"name": "x", "variants": [{"name": "a"}, {"name": "b", "weight": -1}]}
    )
    assert (400, "variants[1].weight") == (wrong.status_code, wrong.json()["error"]["param"])
    missing = await admin.get(f"{PATH}/nothing/results")
    assert (404, "experiment_not_found") == (missing.status_code, missing.json()["error"]["code"])

"""Keys, users, budgets and usage over REST, against all services."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest

from tests.flow.stack import ADMIN_KEY, API_KEY
from tests.gateway.conftest import eventually

CHAT = {"model": "small", "messages": [{"role": "user", "content": "Say hello"}], "max_completion_tokens": 20}


@pytest.fixture
def make_key(admin: httpx.AsyncClient) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Make a key over REST."""

    async def make(**fields: Any) -> dict[str, Any]:
        answer = await admin.post("/admin/keys", json=fields)
        assert 201 == answer.status_code, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return make


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_every_admin_route_is_closed_to_strangers_and_users(admin: httpx.AsyncClient) -> None:
    paths = (await admin.get("/openapi.json")).json()["paths"]
    routes = [
        (m.upper(), path) for path, methods in paths.items() if path.startswith("/admin") for m in methods
    ]
    routes.append(("GET", "/metrics"))
    assert len(routes) >= 18
    found: dict[tuple[str, str], list[int]] = {}
    for method, pattern in routes:
        path = pattern.replace("{", "").replace("}", "")
        answers = []
        # A broken body, so that nothing is changed: who asks is looked at first.
        for headers in ({"authorization": ""}, bearer(API_KEY), bearer(ADMIN_KEY)):
            answer = await admin.request(method, path, content=b"{", headers=headers)
            answers.append(answer.status_code)
        found[method, pattern] = answers
    assert {(401, 403)} == {(stranger, user) for stranger, user, _ in found.values()}, found
    assert all(as_admin not in (401, 403) and as_admin < 500 for _, _, as_admin in found.values()), found


async def test_a_key_is_made_used_and_refused_once_it_is_revoked(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made = await make_key(user_id="ann", plan="open", metadata={"team": "blue"})
    assert made["key"].startswith("sk-lumni-")
    assert (made["status"], made["hint"]) == ("active", made["key"][-4:])
    answer = await admin.post("/v1/chat/completions", json=CHAT, headers=bearer(made["key"]))
    assert 200 == answer.status_code

    shown = (await admin.get(f"/admin/keys/{made['key_id']}")).json()
    assert "key" not in shown
    await admin.post(f"/admin/keys/{made['key_id']}/revoke")

    async def refused() -> bool:
        again = await admin.get("/v1/models", headers=bearer(made["key"]))
        return again.status_code == 401 and again.json()["error"]["code"] == "invalid_api_key"

    await eventually(refused)


async def test_of_20_concurrent_requests_on_a_budget_for_one_one_is_answered(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    route = (await admin.post("/v1/route", json=CHAT, headers=bearer(API_KEY))).json()
    # Two attempts of a request may be billed.
    bound = 2 * route["selection"]["candidates"][0]["max_cost_usd"]
    made = await make_key(user_id="bob", budget_usd=f"{bound:.9f}", budget_period="total", models=["small"])

    answers = await asyncio.gather(
        *(admin.post("/v1/chat/completions", json=CHAT, headers=bearer(made["key"])) for _ in range(20))
    )

    by_status = sorted(answer.status_code for answer in answers)
    assert [200, *[429] * 19] == by_status
    refused = next(answer for answer in answers if answer.status_code == 429).json()["error"]
    assert ("insufficient_quota", "insufficient_quota") == (refused["type"], refused["code"])


async def test_a_rate_limit_is_shown_in_headers_and_refuses_with_retry_after(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made: dict[str, Any] = {}
    answers: list[httpx.Response] = []

    async def three_in_one_minute() -> bool:
        minute = time.time() // 60
        made.update(await make_key(user_id="cy", rpm_limit=2))
        headers = bearer(made["key"])
        answers[:] = [await admin.post("/v1/chat/completions", json=CHAT, headers=headers) for _ in range(3)]
        return time.time() // 60 == minute

    await eventually(three_in_one_minute)

    first, second, third = answers
    assert ("2", "1") == (
        first.headers["x-ratelimit-limit-requests"],
        first.headers["x-ratelimit-remaining-requests"],
    )
    assert "0" == second.headers["x-ratelimit-remaining-requests"]
    assert 429 == third.status_code
    assert 0 < int(third.headers["retry-after"]) <= 60
    assert ("2", "0") == (
        third.headers["x-ratelimit-limit-requests"],
        third.headers["x-ratelimit-remaining-requests"],
    )
    assert "rate_limit_exceeded" == third.json()["error"]["code"]
    await admin.post(f"/admin/keys/{made['key_id']}/reset-limits")

    async def open_again() -> bool:
        answer = await admin.post("/v1/chat/completions", json=CHAT, headers=bearer(made["key"]))
        return answer.status_code == 200

    await eventually(open_again)


async def test_a_stream_counts_its_real_tokens_for_the_limit(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    limit = 100_000
    body = {**CHAT, "max_completion_tokens": 2000, "stream": True, "stream_options": {"include_usage": True}}

    async def corrected_in_one_minute() -> bool:
        minute = time.time() // 60
        other, made = [await make_key(user_id=name, tpm_limit=limit) for name in ("ida", "jo")]
        # What a short request reserves.
        first = await admin.post("/v1/chat/completions", json=CHAT, headers=bearer(other["key"]))
        reserved = limit - int(first.headers["x-ratelimit-remaining-tokens"])

        answer = await admin.post("/v1/chat/completions", json=body, headers=bearer(made["key"]))

        assert 200 == answer.status_code
        chunks = [orjson.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        used = [one["usage"]["total_tokens"] for one in chunks if one.get("usage")]
        assert 1 < sum(used) < 1000
        while time.time() // 60 == minute:
            again = await admin.post("/v1/chat/completions", json=CHAT, headers=bearer(made["key"]))
            expected = limit - sum(used) - reserved
            used.append(again.json()["usage"]["total_tokens"])
            if expected == int(again.headers["x-ratelimit-remaining-tokens"]):
                return True
        return False

    await eventually(corrected_in_one_minute)


async def test_usage_shows_cost_by_model_and_category_and_what_was_saved(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made = await make_key(user_id="dora")
    bills = []
    for _ in range(3):
        answer = await admin.post(
            "/v1/chat/completions", json={**CHAT, "model": "auto"}, headers=bearer(made["key"])
        )
        assert 200 == answer.status_code, answer.text
        bills.append(answer.json()["lumni"]["cost"]["nano_usd"])

    async def written() -> bool:
        found = (await admin.get("/usage/dora")).json()
        return bool(found["total"]["requests"] == 3 and found["savings"]["requests"] == 3)

    await eventually(written)
    own = await admin.get("/usage/dora", params={"group_by": "model,category"}, headers=bearer(made["key"]))
    assert sum(bills) == own.json()["total"]["cost_nano_usd"]
    assert sum(bills) == sum(row["cost_nano_usd"] for row in own.json()["data"])
    assert own.json()["savings"]["most_powerful_usd"] >= own.json()["savings"]["cost_usd"] > 0
    sheet = await admin.get("/usage/dora", params={"group_by": "day", "format": "csv"})
    assert sheet.text.splitlines()[0].startswith("day,requests,attempts,")
    everybody = await admin.get("/admin/usage", params={"group_by": "user", "user_id": "dora"})
    assert [("dora", 3)] == [(row["user"], row["requests"]) for row in everybody.json()["data"]]


async def test_a_user_sees_nobody_elses_usage(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made = await make_key(user_id="eve")

    assert 403 == (await admin.get("/usage/dora", headers=bearer(made["key"]))).status_code
    assert 200 == (await admin.get("/usage/eve", headers=bearer(made["key"]))).status_code
    assert 401 == (await admin.get("/usage/eve", headers={"authorization": ""})).status_code


async def test_a_holder_reads_the_own_key(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made = await make_key(user_id="flo", rpm_limit=7, budget_usd=1.5, models=["small"])

    shown = (await admin.get("/key/info", headers=bearer(made["key"]))).json()

    assert (made["key_id"], "flo", ["small"], 7, 1.5) == (
        shown["key_id"],
        shown["user_id"],
        shown["models"],
        shown["limits"][0]["rpm"],
        shown["limits"][0]["budget_usd"],
    )
    assert made["key"] not in str(shown)


async def test_a_user_is_exported_and_erased_but_the_usage_stays(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made = await make_key(user_id="gus")
    await admin.post("/v1/chat/completions", json=CHAT, headers=bearer(made["key"]))

    async def written() -> bool:
        return bool((await admin.get("/usage/gus")).json()["total"]["requests"] == 1)

    await eventually(written)
    export = await admin.get("/admin/users/gus/export")
    assert {
        "users",
        "virtual_keys",
        "usage_records",
        "usage_metrics",
        "budget_spend",
        "model_selections",
        "task_classifications",
        "audit_events",
    } == {line.split('"')[3] for line in export.text.splitlines()}
    assert made["key"] not in export.text

    erased = (await admin.delete("/admin/users/gus")).json()

    assert [] == (await admin.get("/admin/keys", params={"user_id": "gus"})).json()["data"]
    assert 404 == (await admin.get("/admin/users/gus")).status_code
    assert 0 == (await admin.get("/usage/gus")).json()["total"]["requests"]
    assert 1 == (await admin.get(f"/usage/{erased['usage_kept_as']}")).json()["total"]["requests"]
    assert "gus" not in (await admin.get("/admin/audit", params={"limit": 1000})).text.replace("August", "")


async def test_keys_are_listed_in_pages_and_changed_by_user(
    admin: httpx.AsyncClient, make_key: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    made = sorted([(await make_key(user_id="hal"))["key_id"] for _ in range(5)])

    first = (await admin.get("/admin/keys", params={"user_id": "hal", "limit": 3})).json()
    second = (await admin.get("/admin/keys", params={"user_id": "hal", "after": first["after"]})).json()
    assert made == [key["key_id"] for key in first["data"] + second["data"]]

    changed = await admin.patch("/admin/users/hal/keys", json={"rpm_limit": 4})
    assert 5 == changed.json()["changed"]
    assert 5 == (await admin.post("/admin/users/hal/keys/revoke")).json()["revoked"]
    listed = (await admin.get("/admin/keys", params={"user_id": "hal"})).json()["data"]
    assert {(4, "revoked")} == {(key["rpm_limit"], key["status"]) for key in listed}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plan": "golden"}, "plan"),
        ({"rpm_limit": -1}, "rpm_limit"),
        ({"rpm": 5}, "rpm"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"budget_usd": -0.5}, "budget_usd"),
        ({"budget_usd": "0.0000000001"}, "budget_usd"),
        ({"budget_period": "year"}, "budget_period"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"models": "small"}, "models"),
        ({"metadata": {"x": "y" * 20_000}}, "metadata"),
        ({"metadata": {"x": "a\0b"}}, "metadata"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused_by_field(
    admin: httpx.AsyncClient, body: dict[str, Any], field: str | None
) -> None:
    answer = await admin.post("/admin/keys", json=body)

    assert 400 == answer.status_code, answer.text
    assert {"message", "type", "param", "code"} == set(answer.json()["error"])
    assert field == answer.json()["error"]["param"]


async def test_a_body_that_is_too_long_is_refused(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/admin/keys", content=b'{"plan": "' + b"x" * 17_000_000 + b'"}')

    assert 413 == answer.status_code

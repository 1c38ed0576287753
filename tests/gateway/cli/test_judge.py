"""lumni judge: what one answer's refusal means for the others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.gateway.cli import learning
from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.keys.permissions import EVALUATION

GRADED: dict[str, Any] = {
    "choices": [{"message": {"content": "Right. Grade: 5"}, "finish_reason": "stop"}],
    "lumni": {"model": "judge", "deployment": "judge@maker", "cost": {"nano_usd": 1}},
}
PRICED = {
    "input_usd_per_mtok": 0.1,
    "output_usd_per_mtok": 0.1,
    "max_output_tokens": None,
    "context_window": None,
}


class Admin(Gateway):
    """Has the texts of each answer, and takes judgements."""

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.made: dict[str, Any] = {}
        self.revoked = ""

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        if path == "/admin/keys":
            self.made = more["json"]
            return {"key": "made", "key_id": "k7"}
        if path.endswith("/revoke"):
            self.revoked = path
            return {}
        if path.endswith("/open"):
            return {"data": ["good", "better"]}
        if method == "POST":
            self.judged.append(more["json"]["request_id"])
            return {}
        asked = {"messages": [{"role": "user", "content": path.rpartition("/")[2]}]}
        return {"texts": {"request": asked, "response": {"texts": {"0.content": "Yes."}}}}


class Refusing:
    """A gateway whose judge refuses to read the answer `unwelcome`."""

    status = 400
    code = "bad"

    def __init__(self) -> None:
        self.keys: set[str] = set()

    async def model(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["name"], "lumni": PRICED})

    async def chat(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers["authorization"])
        if "unwelcome" in (await request.json())["messages"][-1]["content"]:
            error = {"message": "this is refused", "code": self.code}
            return web.json_response({"error": error}, status=self.status)
        return web.json_response(GRADED)


@pytest_asyncio.fixture
async def refusing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Refusing]:
    gateway, app = Refusing(), web.Application()
    app.router.add_get("/v1/models/{name}", gateway.model)
    app.router.add_post("/v1/chat/completions", gateway.chat)
    async with TestServer(app) as server:
        monkeypatch.setenv("LUMNI_URL", str(server.make_url("/")))
        monkeypatch.setenv("LUMNI_ADMIN_KEY", "admin")
        yield gateway


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_answer_that_the_judge_refuses_is_counted_and_the_others_are_judged(
    refusing: Refusing, status: int
) -> None:
    refusing.status = status
    admin = Admin()
    judged, unread, _ = await learning._judged(admin, "key", "judge", 10**9, ["unwelcome", "good"])

    assert (1, 1, ["good"]) == (judged, unread, admin.judged)


@pytest.mark.parametrize(("status", "code"), [(401, "bad"), (403, "bad"), (429, "insufficient_quota")])
async def test_a_key_that_may_not_ask_or_has_nothing_left_ends_the_run(
    refusing: Refusing, status: int, code: str
) -> None:
    refusing.status, refusing.code = status, code
    admin = Admin()

    with pytest.raises(RefusedError, match="after 0 answers: this is refused"):
        await learning._judged(admin, "key", "judge", 10**9, ["unwelcome", "good"])
    assert [] == admin.judged


async def test_a_judge_is_asked_with_a_key_that_keeps_nothing_and_that_no_mirror_follows(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Admin()
    monkeypatch.setattr(learning, "Gateway", lambda: admin)
    await asyncio.to_thread(learning.judge, by="judge", budget="1")

    assert (["good", "better"], {"Bearer made"}) == (admin.judged, refusing.keys)
    assert (EVALUATION, False) == (admin.made["user_id"], admin.made["store_prompts"])
    assert "/admin/keys/k7/revoke" == admin.revoked

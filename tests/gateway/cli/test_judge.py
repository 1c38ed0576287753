"""lumni judge: what one answer's refusal means for the others."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.gateway.cli import learning
from services.gateway.cli.client import Gateway, RefusedError

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

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        if method == "POST":
            self.judged.append(more["json"]["request_id"])
            return {}
        asked = {"messages": [{"role": "user", "content": path.rpartition("/")[2]}]}
        return {"texts": {"request": asked, "response": {"texts": {"0.content": "Yes."}}}}


class Refusing:
    """A gateway whose judge refuses to read the answer `bad`."""

    status = 400
    code = "bad"

    async def model(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["name"], "lumni": PRICED})

    async def chat(self, request: web.Request) -> web.Response:
        if "bad" in (await request.json())["messages"][-1]["content"]:
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
    judged, unread, _ = await learning._judged(admin, "judge", 10**9, ["bad", "good"])

    assert (1, 1, ["good"]) == (judged, unread, admin.judged)


@pytest.mark.parametrize(("status", "code"), [(401, "bad"), (403, "bad"), (429, "insufficient_quota")])
async def test_a_key_that_may_not_ask_or_has_nothing_left_ends_the_run(
    refusing: Refusing, status: int, code: str
) -> None:
    refusing.status, refusing.code = status, code
    admin = Admin()

    with pytest.raises(RefusedError, match="after 0 answers: this is refused"):
        await learning._judged(admin, "judge", 10**9, ["bad", "good"])
    assert [] == admin.judged

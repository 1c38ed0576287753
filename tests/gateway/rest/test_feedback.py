"""Lists of verdicts, with limits on a real Valkey."""

import fastapi
import httpx
import pytest

from services.chassis import errors, redis, telemetry
from services.gateway import postgres
from services.gateway.config.plans import Rate
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Limits
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.requests.feedback_request import Verdict
from services.gateway.rest import feedback
from tests.gateway.money import caller
from tests.gateway.pipeline.test_pipeline import Setup

YEAR_S = 365 * 86_400.0


class OneCaller(Authenticator):
    """Everybody is the same caller, who has three requests in all."""

    def __init__(self) -> None:
        pass

    async def caller(self, key: str) -> Caller:
        return caller(rate=Rate(rpm=3))


class Kept(FeedbackStore):
    """Notes what was given."""

    def __init__(self) -> None:
        self.values: list[int] = []

    async def give(self, caller: Caller, verdict: Verdict) -> str:
        self.values.append(verdict.value)
        return verdict.request_id


async def test_each_verdict_of_a_list_counts_as_a_request(client: redis.Redis, pool: postgres.Pool) -> None:
    kept = Kept()
    # One window for the whole test.
    limits = Limits(client, pool, billable_attempts=1, window_s=YEAR_S)
    setup = Setup(conducting=lambda **more: Pipeline(**{**more, "limits": limits}))
    application = fastapi.FastAPI()
    application.include_router(feedback.router(OneCaller(), kept, setup.pipeline))
    transport = httpx.ASGITransport(application)
    telemetry.request_id.set("0198-ab")
    async with limits.delivering(), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        given = [{"request_id": f"r{i}", "value": i} for i in range(5)]
        with pytest.raises(errors.Exhausted, match="3"):
            await http.post("/v1/feedback", json=given)

    assert [0, 1, 2] == kept.values

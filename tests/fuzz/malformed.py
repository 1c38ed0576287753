"""Malformed bodies over HTTP for every route that reads what a model is asked: refused by their field, soon, for nothing.

Near misses are some of them: good bodies with an odd value in one place, which may turn out to be good still. What is
refused has to name the field or say that the body is at fault, and may not have cost anything.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import orjson
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from services.chassis.operations import Operation
from tests.fuzz import bodies, forms
from tests.fuzz.near_bodies import near
from tests.gateway.conftest import eventually

ROUTES: Mapping[str, Operation] = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/route": Operation.CHAT,
    "/v1/responses": Operation.RESPONSES,
    "/v1/responses/input_tokens": Operation.RESPONSES,
    "/v1/messages": Operation.MESSAGES,
    "/v1/messages/count_tokens": Operation.MESSAGES,
    "/v1/completions": Operation.COMPLETIONS,
    "/v1/embeddings": Operation.EMBEDDINGS,
    "/v1/moderations": Operation.MODERATIONS,
    "/v1/images/generations": Operation.IMAGE_GENERATION,
    "/v1/audio/speech": Operation.AUDIO_SPEECH,
    "/v1/audio/transcriptions": Operation.AUDIO_TRANSCRIPTION,
}
# What models have to be able to, so that near misses reach their provider.
ABLE = (
    "supports_function_calling supports_pdf_input supports_reasoning supports_response_schema supports_vision"
)
MODELS = """  - model_name: vectors
    litellm_params: {{model: openai/vectors, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: embedding, input_cost_per_token: 0.00000002, max_input_tokens: 8192, access_groups: [all]}}
  - model_name: judge
    litellm_params: {{model: openai/judge, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: moderation, input_cost_per_token: 0, max_input_tokens: 32768, access_groups: [all]}}
  - model_name: dall-e
    litellm_params: {{model: openai/dall-e, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: image_generation, output_cost_per_image: 0.04, access_groups: [all]}}
  - model_name: tts-1
    litellm_params: {{model: openai/tts-1, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{access_groups: [all]}}
  - model_name: whisper-1
    litellm_params: {{model: openai/whisper-1, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{access_groups: [all]}}
"""
# A request that takes longer hangs, in seconds: a busy machine needs a tenth of it.
TIMEOUT_S = 60.0
# Bodies for one key: a key that sends more wrong ones within a minute is refused for that.
KEY_LASTS = 400
# What a provider finds wrong is told in its own words, and by its own field if it names one.
_PROVIDERS = ("missing or unknown: ", "the request is not understood: ")
_BILLED = """
SELECT request_id, kind FROM usage_records
WHERE request_id = ANY($1) AND started_at >= $2 AND (cost_nano_usd > 0 OR kind <> 'failed')
"""


def fleet(base: str) -> str:
    """A configuration with the models that the good bodies name, able to take them."""
    able = "".join(f"{name}: true, " for name in ABLE.split())
    return base.replace("max_input_tokens:", f"{able}max_input_tokens:").replace(
        "router_settings:", f"{MODELS}router_settings:"
    )


def contents(operation: Operation) -> st.SearchStrategy[bytes]:
    """Bodies of an operation: near misses, any JSON or form, text that breaks off, any bytes."""
    if operation is Operation.AUDIO_TRANSCRIPTION:
        texts, anything = forms.near_forms(), forms.any_forms()
    else:
        nearly = bodies.chats() if operation is Operation.CHAT else near(operation)
        texts, anything = nearly.map(orjson.dumps), bodies.JSON.map(orjson.dumps)
    cut = st.builds(lambda text, share: text[: int(len(text) * share)], texts, st.floats(0, 0.99))
    # Near misses reach further than the others.
    return st.one_of(texts, texts, texts, anything, cut, st.binary(max_size=200))


class Malformed:
    """Sends bodies with keys of its own, and remembers what became of them.

    Attributes:
        codes: How many answers of each status each route gave.
        refused: The ids of the requests that were refused.

    """

    def __init__(self, rest: str, admin_key: str) -> None:
        self.codes: Counter[tuple[str, int]] = Counter()
        self.refused: list[str] = []
        self._began = datetime.now(UTC)
        self._http = httpx.Client(base_url=rest, timeout=TIMEOUT_S, trust_env=False)
        self._admin = {"authorization": f"Bearer {admin_key}"}
        self._headers: dict[str, str] = {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def search(self, path: str, count: int, *, number: int) -> None:
        """Send so many bodies to a route, the same ones for the same number.

        Raises:
            AssertionError: one was answered as it may not be; it was made as small as it can be.
        """

        @seed(number)
        @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(contents(ROUTES[path]))
        def look(content: bytes) -> None:
            self._check(path, content)

        look()

    def _check(self, path: str, content: bytes) -> None:
        if sum(self.codes.values()) % KEY_LASTS == 0:
            self._headers = self._key()
        form = ROUTES[path] is Operation.AUDIO_TRANSCRIPTION
        kind = {"content-type": forms.CONTENT_TYPE if form else "application/json"}
        answer = self._http.post(path, content=content, headers={**self._headers, **kind})
        self.codes[path, answer.status_code] += 1
        about = f"{path} {content[:300]!r}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500, about
        if answer.status_code < 400:
            return
        self.refused.append(answer.headers["x-request-id"])
        assert answer.status_code != 429, about
        error = answer.json()["error"]
        names_it = error["param"] or "body" in error["message"]
        assert names_it or any(words in error["message"] for words in _PROVIDERS), about

    def _key(self) -> dict[str, str]:
        made = self._http.post("/admin/keys", json={}, headers=self._admin)
        return {"authorization": f"Bearer {made.json()['key']}"}

    async def billed(self, database: str) -> list[Any]:
        """What the ledger says that refused requests cost, once it has written all that happened before now."""
        good = {"model": "small", "max_tokens": 4, "messages": [{"role": "user", "content": "Say hello."}]}
        headers = self._key()
        last = await asyncio.to_thread(
            lambda: self._http.post("/v1/chat/completions", json=good, headers=headers)
        )
        assert last.status_code == 200, last.text
        connection = await asyncpg.connect(database)
        try:

            async def written() -> bool:
                return bool(await connection.fetch(_BILLED, [last.headers["x-request-id"]], self._began))

            await eventually(written)
            return list(await connection.fetch(_BILLED, self.refused, self._began))
        finally:
            await connection.close()

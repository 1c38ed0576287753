"""Pictures, speech and transcriptions by the official client's own methods, whole road."""

import httpx
import openai
import pytest

from tests.flow.provider_counts import counted_alike
from tests.flow.stack import ADMIN_KEY, Stack
from tests.simulator import Simulator
from tests.simulator.media import IMAGE_TOKENS, TOKENS_A_SECOND, silence

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOUND = ("sound.wav", silence("wav", 2500), "audio/wav")


async def test_pictures_cost_what_pieces_or_tokens_cost(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with counted_alike(stack, provider, "dall-e") as by_piece:
        drawn = await client.images.generate(model="dall-e", prompt="A small boat", n=3, size="1024x1024")
    async with counted_alike(stack, provider, "gpt-image-1") as by_token:
        await client.images.generate(model="gpt-image-1", prompt="A small boat", quality="low")

    assert drawn.data is not None
    assert 3 == len(drawn.data)
    assert (1, 0, 120_000_000) == (by_piece.requests, by_piece.prompt_tokens, by_piece.cost_nano_usd)
    assert (3, IMAGE_TOKENS) == (by_token.prompt_tokens, by_token.completion_tokens)
    assert 3 * 5_000 + IMAGE_TOKENS * 40_000 == by_token.cost_nano_usd
    extra = drawn.model_extra
    assert extra is not None
    assert ("dall-e@openai", 120_000_000) == (
        extra["lumni"]["deployment"],
        extra["lumni"]["cost"]["nano_usd"],
    )


async def test_speech_costs_what_its_characters_cost_and_comes_as_it_is(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with counted_alike(stack, provider, "tts-1") as bill:
        spoken = await client.audio.speech.with_raw_response.create(
            model="tts-1", voice="alloy", input="Good morning."
        )
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input="Hi.", response_format="wav"
        ) as streamed:
            wav = await streamed.read()

    assert (silence("mp3", 13 * 60), "audio/mpeg") == (spoken.content, spoken.headers["content-type"])
    assert silence("wav", 3 * 60) == wav
    assert (2, 16 * 15_000) == (bill.requests, bill.cost_nano_usd)
    assert "0.000195000" == spoken.headers["x-lumni-cost-usd"]


async def test_transcriptions_cost_what_the_provider_heard(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with counted_alike(stack, provider, "whisper-1") as by_second:
        plain = await client.audio.transcriptions.create(model="whisper-1", file=SOUND, language="en")
        verbose = await client.audio.transcriptions.create(
            model="whisper-1",
            file=SOUND,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        text = await client.audio.transcriptions.create(model="whisper-1", file=SOUND, response_format="text")
    sent = (await provider.requests(last=2))[0]["body"]
    async with counted_alike(stack, provider, "gpt-4o-transcribe") as by_token:
        await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND)

    heard = "heard 3 seconds of sound"
    assert (heard, heard, 3.0, f"{heard}\n") == (plain.text, verbose.text, verbose.duration, text)
    assert ["word", "segment"] == sent["timestamp_granularities"]
    assert (3, 900_000) == (by_second.requests, by_second.cost_nano_usd)
    assert (3 * TOKENS_A_SECOND, 5) == (by_token.prompt_tokens, by_token.completion_tokens)
    assert 30 * 2_500 + 5 * 10_000 == by_token.cost_nano_usd


async def test_what_stands_in_speaks_where_a_deployment_fails(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/v1/audio/speech", json={"model": "silent", "voice": "alloy", "input": "Good morning."}
    )

    assert (200, "tts-1@openai", "2") == (
        answer.status_code,
        answer.headers["x-lumni-deployment"],
        answer.headers["x-lumni-attempts"],
    )


async def test_a_budget_covers_what_is_billed_without_tokens(stack: Stack, http: httpx.AsyncClient) -> None:
    made = await http.post(
        "/admin/keys",
        json={"budget_usd": "0.18", "budget_period": "total", "models": ["dall-e"]},
        headers={"authorization": f"Bearer {ADMIN_KEY}"},
    )
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    # Two attempts of a request may be billed.
    codes = [
        (
            await http.post(
                "/v1/images/generations",
                json={"model": "dall-e", "prompt": "A boat", "n": count},
                headers=headers,
            )
        ).status_code
        for count in (3, 2, 2)
    ]

    assert [429, 200, 429] == codes


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("images/generations", {"prompt": "A boat"}, "model"),
        ("images/generations", {"model": "dall-e", "prompt": ""}, "prompt"),
        ("images/generations", {"model": "dall-e", "prompt": "a", "n": 11}, "n"),
        ("images/generations", {"model": "dall-e", "prompt": "a", "stream": True}, "stream"),
        ("images/generations", {"model": "dall-e", "prompt": "a", "size": "big"}, "size"),
        ("images/generations", {"model": "small", "prompt": "a"}, "model"),
        ("audio/speech", {"model": "tts-1", "input": "a"}, "voice"),
        ("audio/speech", {"model": "tts-1", "input": 1, "voice": "a"}, "input"),
        (
            "audio/speech",
            {"model": "tts-1", "input": "a", "voice": "a", "stream_format": "sse"},
            "stream_format",
        ),
    ],
)
async def test_a_mistake_names_its_field(
    http: httpx.AsyncClient, path: str, body: dict[str, object], param: str
) -> None:
    answer = await http.post(f"/v1/{path}", json=body)

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_a_form_that_is_none_is_refused(http: httpx.AsyncClient) -> None:
    path = "/v1/audio/transcriptions"
    as_json = await http.post(path, json={"model": "whisper-1"})
    without_file = await http.post(path, data={"model": "whisper-1"}, files={"other": SOUND})
    broken = await http.post(
        path, content=b"nothing", headers={"content-type": "multipart/form-data; boundary=x"}
    )

    assert (415, "content-type") == (as_json.status_code, as_json.json()["error"]["param"])
    assert (400, "file") == (without_file.status_code, without_file.json()["error"]["param"])
    assert 400 == broken.status_code
    assert "no form that can be read" in broken.json()["error"]["message"]

"""Pictures, speech and transcriptions by the official client's own methods, whole road."""

import base64
import json

import asyncpg
import httpx
import openai
import pytest

from services.gateway.requests import prompt_size
from tests.flow.provider_counts import counted_alike
from tests.flow.stack import ADMIN_KEY, Stack
from tests.gateway.conftest import eventually
from tests.simulator import Simulator
from tests.simulator.media import CHARACTER_MS, IMAGE_TOKENS, PARTIAL_TOKENS, TOKENS_A_SECOND, silence

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOUND = ("sound.wav", silence("wav", 2500), "audio/wav")
PROMPT_BOUND = prompt_size.of_text("A small boat")[0]
BOOKED = "SELECT kind, cost_nano_usd FROM usage_records WHERE request_id = $1"


async def booked(stack: Stack, request_id: str) -> list[tuple[str, int]]:
    """The rows of a request in the ledger: what kind they are, and what they cost."""
    connection = await asyncpg.connect(stack.database)
    try:
        rows: list[tuple[str, int]] = []

        async def written() -> bool:
            rows[:] = [
                (one["kind"], one["cost_nano_usd"]) for one in await connection.fetch(BOOKED, request_id)
            ]
            return bool(rows)

        await eventually(written)
        return rows
    finally:
        await connection.close()


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


async def test_a_streamed_picture_costs_what_it_and_its_looks_cost(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with counted_alike(stack, provider, "gpt-image-1") as bill:
        stream = await client.images.generate(
            model="gpt-image-1", prompt="A small boat", stream=True, partial_images=2
        )
        events = [event async for event in stream]

    looks = ["image_generation.partial_image"] * 2
    assert [*looks, "image_generation.completed"] == [event.type for event in events]
    spent = IMAGE_TOKENS + 2 * PARTIAL_TOKENS
    assert (1, 3, spent) == (bill.requests, bill.prompt_tokens, bill.completion_tokens)
    assert 3 * 5_000 + spent * 40_000 == bill.cost_nano_usd
    extra = events[-1].model_extra
    assert extra is not None
    assert bill.cost_nano_usd == extra["lumni"]["cost"]["nano_usd"]


async def test_streamed_speech_is_the_same_sound_at_the_same_price(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI
) -> None:
    said = "Good morning to all of you."
    async with (
        counted_alike(stack, provider, "tts-1") as bill,
        client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=said, response_format="pcm", stream_format="sse"
        ) as streamed,
    ):
        lines = [line async for line in streamed.iter_lines() if line.startswith("data: ")]

    *deltas, done = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {"speech.audio.delta"} == {one["type"] for one in deltas}
    assert silence("pcm", len(said) * CHARACTER_MS) == b"".join(
        base64.b64decode(one["audio"]) for one in deltas
    )
    assert "speech.audio.done" == done["type"]
    assert len(said) * 15_000 == bill.cost_nano_usd == done["lumni"]["cost"]["nano_usd"]


@pytest.mark.parametrize(("behaviour", "events"), [("end-2", 2), ("error-2", 2)])
async def test_a_cut_picture_ends_in_an_error_and_is_booked_at_its_bound(
    stack: Stack, provider: Simulator, client: openai.AsyncOpenAI, behaviour: str, events: int
) -> None:
    await provider.script("gpt-image-1", queue=[behaviour])
    seen = []
    stream = await client.images.generate(
        model="gpt-image-1", prompt="A small boat", size="1024x1024", stream=True, partial_images=3
    )
    with pytest.raises(openai.APIError):
        async for event in stream:
            seen.append(event.type)  # noqa: PERF401  (those before the error count)

    assert ["image_generation.partial_image"] * events == seen
    # The prompt's bound, and all tokens that the picture and its looks may take.
    bound = 5_000 * PROMPT_BOUND + 40_000 * (1024 * 1024 // 250 + 1024 + 300)
    assert [("partial", bound)] == await booked(stack, stream.response.headers["x-request-id"])


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
        ("images/generations", {"model": "dall-e", "prompt": "a", "n": 2, "stream": True}, "n"),
        ("images/generations", {"model": "dall-e", "prompt": "a", "size": "big"}, "size"),
        ("images/generations", {"model": "small", "prompt": "a"}, "model"),
        ("audio/speech", {"model": "tts-1", "input": "a"}, "voice"),
        ("audio/speech", {"model": "tts-1", "input": 1, "voice": "a"}, "input"),
        (
            "audio/speech",
            {"model": "tts-1", "input": "a", "voice": "a", "stream_format": "webm"},
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

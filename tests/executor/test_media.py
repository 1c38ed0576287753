"""Pictures, speech and transcriptions through a whole executor with either engine: what callers get, and what it cost."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from lumni.executor.v1 import executor_pb2 as pb

from tests.executor.service import KEY, Caller, executor
from tests.simulator import Simulator
from tests.simulator.media import IMAGE_TOKENS, PARTIAL_TOKENS, TOKENS_A_SECOND, silence

MODELS: dict[str, dict[str, Any]] = {
    "dall-e-3": {"mode": "image_generation", "output_cost_per_image": 0.04},
    "gpt-image-1": {"mode": "image_generation"},
    "priced-by-piece": {"mode": "image_generation", "output_cost_per_image": 0.05},
    "tts-1": {"mode": "audio_speech"},
    "gpt-4o-mini-tts": {"mode": "audio_speech"},
    "whisper-1": {"mode": "audio_transcription"},
    "gpt-4o-transcribe": {"mode": "audio_transcription"},
}
SOUND = silence("wav", 2500)


@pytest.fixture(params=["fast", "general"])
async def caller(
    request: pytest.FixtureRequest, simulator: Simulator, valkey: str, tmp_path: Path
) -> AsyncIterator[Caller]:
    config = {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": f"{simulator.url}/v1",
                    "api_key": "os.environ/SIM_KEY",
                },
                "model_info": {"id": name, **info},
            }
            for name, info in MODELS.items()
        ]
    }
    async with executor(tmp_path, config, valkey, environ={"SIM_KEY": KEY}, engine=request.param) as found:
        yield found


async def test_a_picture_costs_what_it_costs_by_the_piece(caller: Caller) -> None:
    outcome = await caller.ask("dall-e-3", operation="image_generation", prompt="A boat", n=3)

    assert (None, 3) == (outcome.fault, len(outcome.answer["data"]))
    assert (120_000_000, False) == (outcome.report.cost_nano_usd, outcome.report.estimated)
    assert pb.Usage() == outcome.report.usage


async def test_a_picture_of_which_tokens_are_reported_costs_what_they_cost(caller: Caller) -> None:
    outcome = await caller.ask("gpt-image-1", operation="image_generation", prompt="A small boat", n=2)

    used = outcome.report.usage
    assert (3, 2 * IMAGE_TOKENS, 2 * IMAGE_TOKENS) == (
        used.prompt_tokens,
        used.completion_tokens,
        used.image_completion_tokens,
    )
    assert 3 * 5_000 + 2 * IMAGE_TOKENS * 40_000 == outcome.report.cost_nano_usd


async def test_speech_is_sound_and_costs_what_its_characters_cost(caller: Caller) -> None:
    request = caller.request("tts-1", operation="audio_speech", input="Good morning.", voice="alloy")
    answer = await caller.stub.Execute(request, timeout=60)

    assert ("", "audio/mpeg") == (answer.body_json, answer.content_type)
    assert silence("mp3", 13 * 60) == answer.content
    assert (13 * 15_000, False) == (answer.report.cost_nano_usd, answer.report.estimated)


async def test_speech_that_is_billed_by_the_second_is_measured(caller: Caller) -> None:
    request = caller.request(
        "gpt-4o-mini-tts",
        operation="audio_speech",
        input="a" * 50,
        voice="alloy",
        response_format="wav",
        speed=1,
    )
    answer = await caller.stub.Execute(request, timeout=60)

    assert (3 * 250_000, True) == (answer.report.cost_nano_usd, answer.report.estimated)


async def test_a_transcription_costs_what_its_provider_heard(caller: Caller) -> None:
    by_second, by_token = [
        await caller.stub.Execute(_transcription(caller, model), timeout=60)
        for model in ("whisper-1", "gpt-4o-transcribe")
    ]

    assert '"heard 3 seconds of sound"' in by_second.body_json
    assert (300_000, False) == (by_second.report.cost_nano_usd, by_second.report.estimated)
    used = by_token.report.usage
    assert (3 * TOKENS_A_SECOND, 3 * TOKENS_A_SECOND, 5) == (
        used.prompt_tokens,
        used.audio_prompt_tokens,
        used.completion_tokens,
    )
    assert 30 * 2_500 + 5 * 10_000 == by_token.report.cost_nano_usd


async def test_a_text_of_its_own_format_costs_what_the_sound_was_taken_for(caller: Caller) -> None:
    answer = await caller.stub.Execute(_transcription(caller, "whisper-1", response_format="srt"), timeout=60)

    assert b"00:00:00,000 --> 00:00:01,000\nheard 3 seconds" in answer.content
    assert "text/plain; charset=utf-8" == answer.content_type
    assert (500_000, True) == (answer.report.cost_nano_usd, answer.report.estimated)


async def test_only_a_transcription_takes_a_file_and_it_is_not_streamed(caller: Caller) -> None:
    without = await caller.ask("whisper-1", operation="audio_transcription")
    request = pb.StreamExecuteRequest(execute=_transcription(caller, "whisper-1"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(aiter(caller.stub.StreamExecute(request, timeout=60)))

    assert without.fault is not None
    assert "file" == without.fault.param
    assert "not streamed" in str(refused.value.details())


async def test_streamed_speech_and_pictures_cost_what_is_reported_at_their_end(caller: Caller) -> None:
    spoken = await caller.ask(
        "gpt-4o-mini-tts", operation="audio_speech", input="a b", voice="alloy", stream=True
    )
    drawn = await caller.ask(
        "gpt-image-1", operation="image_generation", prompt="A small boat", partial_images=1, stream=True
    )

    if caller.engine == "general":
        assert spoken.fault is not None
        assert drawn.fault is not None
        assert ("stream_format", "stream") == (spoken.fault.param, drawn.fault.param)
        assert 0 == spoken.report.cost_nano_usd == drawn.report.cost_nano_usd
        return
    assert (None, None) == (spoken.fault, drawn.fault)
    assert ["speech.audio.delta", "speech.audio.done"] == [one["type"] for one in spoken.chunks]
    assert ([1], [1]) == (spoken.finishing, drawn.finishing)
    used = spoken.report.usage
    assert (2, TOKENS_A_SECOND, TOKENS_A_SECOND) == (
        used.prompt_tokens,
        used.completion_tokens,
        used.audio_completion_tokens,
    )
    assert (2 * 600 + TOKENS_A_SECOND * 12_000, False) == (
        spoken.report.cost_nano_usd,
        spoken.report.estimated,
    )
    assert 3 * 5_000 + (IMAGE_TOKENS + PARTIAL_TOKENS) * 40_000 == drawn.report.cost_nano_usd


async def test_tokens_without_a_price_do_not_make_a_picture_free(caller: Caller) -> None:
    outcome = await caller.ask("priced-by-piece", operation="image_generation", prompt="A small boat", n=2)

    assert (2 * IMAGE_TOKENS, 2 * 50_000_000) == (
        outcome.report.usage.completion_tokens,
        outcome.report.cost_nano_usd,
    )


def _transcription(caller: Caller, model: str, **body: Any) -> pb.ExecuteRequest:
    request = caller.request(model, operation="audio_transcription", **body)
    request.file.CopyFrom(pb.File(name="sound.wav", content_type="audio/wav", content=SOUND))
    request.audio_ms = 5000
    return request

"""Answers of providers with everything in them that they document, each in its own format: what tests/response_fields.py sends.

What excludes each other stands in several answers. All ids contain `canary`, by which they are known again.
"""

from collections.abc import Mapping
from typing import Any

Answer = Mapping[str, Any]
_CALLED = '{"city":"Paris"}'
_LOGPROB = {"token": "Sun", "bytes": [83], "logprob": -0.25, "top_logprobs": []}
_MODERATION: dict[str, Any] = {
    "model": "omni-moderation-canary",
    "type": "moderation_results",
    "results": [
        {
            "type": "moderation_result",
            "model": "omni-moderation-canary",
            "flagged": True,
            "categories": {"violence": True},
            "category_applied_input_types": {"violence": ["text"]},
            "category_scores": {"violence": 0.5},
        }
    ],
}
_CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "total_tokens": 1500,
    "prompt_tokens_details": {"audio_tokens": 30, "cache_write_tokens": 20, "cached_tokens": 10},
    "completion_tokens_details": {
        "accepted_prediction_tokens": 7,
        "audio_tokens": 8,
        "reasoning_tokens": 9,
        "rejected_prediction_tokens": 6,
    },
}


def _chat(finish_reason: str, *, logprobs: Any = None, **message: Any) -> Answer:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **message},
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }
    return {
        "id": "chatcmpl-canary1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "their-model",
        "service_tier": "default",
        "system_fingerprint": "fp_canary",
        "moderation": {"input": _MODERATION, "output": _MODERATION},
        "an_extension": "text",
        "choices": [choice],
        "usage": _CHAT_USAGE,
    }


_FUNCTION = {"name": "look", "arguments": _CALLED}
CHAT: tuple[Answer, ...] = (
    _chat(
        "stop",
        logprobs={"content": [_LOGPROB], "refusal": [_LOGPROB]},
        content="Sunny.",
        reasoning_content="It is summer.",
        annotations=[
            {
                "type": "url_citation",
                "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 3},
            }
        ],
        audio={"id": "audio_canary", "data": "AAAA", "expires_at": 1_760_000_100, "transcript": "Sunny."},
    ),
    _chat("stop", refusal="I may not."),
    _chat(
        "tool_calls",
        tool_calls=[
            {"id": "call_canary1", "type": "function", "function": _FUNCTION},
            {"id": "call_canary2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        ],
    ),
    _chat("function_call", function_call=_FUNCTION),
)
COMPLETION: tuple[Answer, ...] = (
    {
        "id": "cmpl-canary1",
        "object": "text_completion",
        "created": 1_760_000_000,
        "model": "their-model",
        "system_fingerprint": "fp_canary",
        "an_extension": "text",
        "choices": [
            {
                "index": 0,
                "text": "Sunny.",
                "finish_reason": "stop",
                "logprobs": {
                    "tokens": ["Sun"],
                    "token_logprobs": [-0.25],
                    "top_logprobs": [{"Sun": -0.25}],
                    "text_offset": [0],
                },
            }
        ],
        "usage": _CHAT_USAGE,
    },
)
EMBEDDINGS: tuple[Answer, ...] = (
    {
        "object": "list",
        "model": "their-model",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}],
        "usage": {"prompt_tokens": 1000, "total_tokens": 1000},
        "an_extension": "text",
    },
)
_CALLER = {"type": "program", "caller_id": "canary"}
RESPONSE: tuple[Answer, ...] = (
    {
        "id": "resp_canary1",
        "object": "response",
        "created_at": 1_760_000_000,
        "completed_at": 1_760_000_001,
        "status": "completed",
        "incomplete_details": {"reason": "content_filter"},
        "background": True,
        "conversation": {"id": "conv_canary"},
        "instructions": "Be long.",
        "max_output_tokens": 10,
        "max_tool_calls": 11,
        "metadata": {"a": "canary"},
        "model": "their-model",
        "moderation": {"input": _MODERATION["results"][0], "output": _MODERATION["results"][0]},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_canary2",
        "prompt": {"id": "pmpt_canary"},
        "prompt_cache_key": "key",
        "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "theirs",
        "service_tier": "default",
        "temperature": 0.5,
        "text": {"format": {"type": "json_object"}},
        "tool_choice": "required",
        "tools": [{"type": "function", "name": "look", "parameters": {}, "strict": True}],
        "top_logprobs": 2,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "theirs",
        "an_extension": "text",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_canary",
                "status": "completed",
                "summary": [{"type": "summary_text", "text": "Summer."}],
                "content": [{"type": "reasoning_text", "text": "It is summer."}],
                "encrypted_content": "gAAA",
            },
            {
                "type": "message",
                "id": "msg_canary",
                "role": "assistant",
                "status": "completed",
                "phase": "final_answer",
                "content": [
                    {
                        "type": "output_text",
                        "text": "Sunny.",
                        "annotations": [{"type": "file_path", "file_id": "file_canary", "index": 0}],
                        "logprobs": [_LOGPROB],
                    },
                    {"type": "refusal", "refusal": "I may not."},
                ],
            },
            {
                "type": "function_call",
                "id": "fc_canary",
                "call_id": "call_canary",
                "name": "look",
                "namespace": "weather",
                "arguments": _CALLED,
                "status": "completed",
                "caller": _CALLER,
            },
            {
                "type": "custom_tool_call",
                "id": "ctc_canary",
                "call_id": "call_canary3",
                "name": "shell",
                "namespace": "local",
                "input": "ls",
                "caller": _CALLER,
            },
        ],
        "usage": {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20},
            "output_tokens": 500,
            "output_tokens_details": {"reasoning_tokens": 9},
            "total_tokens": 1500,
        },
    },
)


def _message(stop_reason: str, *content: Answer, **more: Any) -> Answer:
    return {
        "id": "msg_canary1",
        "type": "message",
        "role": "assistant",
        "model": "their-model",
        "container": {"id": "container_canary", "expires_at": "2026-01-01T00:00:00Z"},
        "diagnostics": {"cache_miss_reason": {"type": "unavailable"}},
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "an_extension": "text",
        "usage": {
            "input_tokens": 1000,
            "output_tokens": 500,
            "cache_creation_input_tokens": 50,
            "cache_read_input_tokens": 10,
            "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 30},
            "inference_geo": "eu",
            "output_tokens_details": {"thinking_tokens": 9},
            "server_tool_use": {"web_fetch_requests": 2, "web_search_requests": 3},
            "service_tier": "standard",
            "speed": "fast",
        },
        **more,
    }


_CITATION = {
    "type": "web_search_result_location",
    "cited_text": "Sun",
    "encrypted_index": "Eo8B",
    "title": "A",
    "url": "https://a.example",
}
_FOUND = {
    "type": "web_search_result",
    "title": "A",
    "url": "https://a.example",
    "encrypted_content": "Eo8C",
    "page_age": None,
}
MESSAGE: tuple[Answer, ...] = (
    _message(
        "end_turn",
        {"type": "thinking", "thinking": "It is summer.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "text", "text": "Sunny.", "citations": [_CITATION]},
    ),
    _message("stop_sequence", {"type": "text", "text": "Sunny."}, stop_sequence="x"),
    _message(
        "tool_use",
        {
            "type": "tool_use",
            "id": "toolu_canary",
            "name": "look",
            "input": {"city": "Paris"},
            "caller": {"type": "direct"},
            "toolset_name": "weather",
        },
    ),
    _message(
        "end_turn",
        {
            "type": "server_tool_use",
            "id": "srvtoolu_canary",
            "name": "web_search",
            "input": {"query": "weather"},
            "caller": {"type": "direct"},
        },
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_canary",
            "content": [_FOUND],
            "caller": {"type": "direct"},
        },
        {"type": "text", "text": "Sunny.", "citations": [_CITATION]},
    ),
    _message("refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "I may not."}),
)


_MODALITIES = [{"modality": "TEXT", "tokenCount": 400}, {"modality": "AUDIO", "tokenCount": 30}]


def _generated(*parts: Answer) -> Answer:
    candidate = {
        "index": 0,
        "content": {"parts": list(parts), "role": "model"},
        "finishReason": "STOP",
        "finishMessage": "Ended.",
        "avgLogprobs": -0.5,
        "logprobsResult": {
            "chosenCandidates": [{"token": "Sun", "logProbability": -0.25}],
            "topCandidates": [{"candidates": [{"token": "Sun", "logProbability": -0.25}]}],
        },
        "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}],
        "citationMetadata": {
            "citationSources": [{"startIndex": 0, "endIndex": 3, "uri": "https://a.example"}]
        },
        "groundingMetadata": {
            "webSearchQueries": ["weather"],
            "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
            "groundingSupports": [
                {"segment": {"startIndex": 0, "endIndex": 3, "text": "Sun"}, "groundingChunkIndices": [0]}
            ],
        },
    }
    return {
        "candidates": [candidate],
        "modelVersion": "their-model",
        "responseId": "canary1",
        "an_extension": "text",
        "usageMetadata": {
            "promptTokenCount": 1000,
            "candidatesTokenCount": 491,
            "thoughtsTokenCount": 9,
            "totalTokenCount": 1500,
            "cachedContentTokenCount": 10,
            "toolUsePromptTokenCount": 5,
            "promptTokensDetails": _MODALITIES,
            "candidatesTokensDetails": _MODALITIES,
            "cacheTokensDetails": _MODALITIES,
            "serviceTier": "standard",
        },
    }


GENERATED: tuple[Answer, ...] = (
    _generated({"text": "It is summer.", "thought": True}, {"text": "Sunny.", "thoughtSignature": "c2ln"}),
    _generated({"functionCall": {"id": "canary", "name": "look", "args": {"city": "Paris"}}}),
)
EMBEDDED: tuple[Answer, ...] = (
    {"embeddings": [{"values": [0.25, 0.5]}]},
    {
        "embeddings": [{"values": [0.25, 0.5]}],
        "usageMetadata": {"promptTokenCount": 430, "promptTokensDetails": _MODALITIES},
    },
)
_HARMS = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
MODERATION: tuple[Answer, ...] = (
    {
        "id": "modr-canary1",
        "model": "their-model",
        "results": [
            {
                "flagged": True,
                "categories": dict.fromkeys(_HARMS, True),
                "category_applied_input_types": {harm: ["text"] for harm in _HARMS},
                "category_scores": dict.fromkeys(_HARMS, 0.5),
            }
        ],
        "an_extension": "text",
    },
)
IMAGES: tuple[Answer, ...] = (
    {
        "created": 1_760_000_000,
        "background": "opaque",
        "data": [{"b64_json": "AAAA", "revised_prompt": "A boat."}],
        "output_format": "png",
        "quality": "low",
        "size": "1024x1024",
        "usage": {
            "input_tokens": 40,
            "input_tokens_details": {"image_tokens": 30, "text_tokens": 10},
            "output_tokens": 500,
            "output_tokens_details": {"image_tokens": 490, "text_tokens": 10},
            "total_tokens": 540,
        },
        "an_extension": "text",
    },
    {"created": 1_760_000_000, "data": [{"url": "https://a.example/canary.png"}]},
)
TRANSCRIPTION: tuple[Answer, ...] = (
    {
        "text": "Good morning.",
        "languages": [{"code": "en"}],
        "logprobs": [{"token": "Good", "bytes": [71], "logprob": -0.25}],
        "usage": {
            "type": "tokens",
            "input_tokens": 40,
            "output_tokens": 10,
            "total_tokens": 50,
            "input_token_details": {"audio_tokens": 30, "text_tokens": 10},
        },
        "an_extension": "text",
    },
    {
        "task": "transcribe",
        "text": "Good morning.",
        "language": "english",
        "duration": 2.5,
        "segments": [
            {
                "id": 0,
                "avg_logprob": -0.25,
                "compression_ratio": 1.5,
                "end": 2.5,
                "no_speech_prob": 0.25,
                "seek": 0,
                "start": 0.5,
                "temperature": 0.5,
                "text": "Good morning.",
                "tokens": [1],
            }
        ],
        "words": [{"word": "Good", "start": 0.5, "end": 1.0}],
        "usage": {"type": "duration", "seconds": 3},
    },
)

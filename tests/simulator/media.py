"""OpenAI's pictures, speech and transcriptions: pixels and sound are made up, what is billed is exact."""

import base64
import io
import math
import wave
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Tokens
from tests.simulator.openai import CREATED, Errors
from tests.simulator.plan import Part, Plan, dump, event
from tests.simulator.request import ParsedRequest, Request, words

# A picture of gpt-image-1 in low quality.
IMAGE_TOKENS = 272
# A look at one that is not finished.
PARTIAL_TOKENS = 100
# A silent frame of MPEG-1 layer III: 128 kbit/s and 44,100 samples a second, of which it holds 1152.
_MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
_MP3_FRAME_MS = 1152 / 44.1
# How long a character takes to be said, and how many tokens a second of sound is.
CHARACTER_MS, TOKENS_A_SECOND = 60, 10
_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "opus": "audio/opus"}


def _parsed(
    request: Request, question: str, tokens: int = 0, choices: int = 1, *, stream: bool = False
) -> ParsedRequest:
    return ParsedRequest(
        model=request.body["model"],
        digest=request.digest,
        stream=stream,
        question=question,
        prompt_tokens=tokens,
        choices=choices,
        body=request.body,
    )


class Images(Errors):
    """POST /images/generations; a model whose name says dall-e reports no tokens."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        prompt, count = str(request.body["prompt"]), request.body.get("n") or 1
        if not isinstance(count, int):
            raise TypeError("n: expected an integer")
        streamed = bool(request.body.get("stream"))
        return _parsed(request, prompt, words(prompt), count, stream=streamed)

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """As many pictures as were asked for."""
        wants_url = request.body.get("response_format") == "url"
        picture = {"url": "https://pictures.example/1.png"} if wants_url else {"b64_json": _PIXEL}
        shown: dict[str, Any] = {"created": CREATED, "data": [picture] * request.choices}
        if "dall-e" in request.model or not behaviour.usage:
            return Plan([Part(dump(shown))], Tokens(images=request.choices))
        tokens = Tokens(request.prompt_tokens, request.choices * IMAGE_TOKENS, images=request.choices)
        shown["usage"] = _image_usage(tokens)
        return Plan([Part(dump(shown))], tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """A picture that becomes clearer, at the price of some tokens for each look at it."""
        looks = request.body.get("partial_images") or 0
        tokens = Tokens(request.prompt_tokens, IMAGE_TOKENS + looks * PARTIAL_TOKENS, images=1)
        shown = {
            "b64_json": _PIXEL,
            "background": "opaque",
            "created_at": CREATED,
            "output_format": "png",
            "quality": request.body.get("quality") or "low",
            "size": request.body.get("size") or "1024x1024",
        }
        kind = "image_generation.partial_image"
        parts = [
            Part(event({"type": kind, **shown, "partial_image_index": number}, kind), PARTIAL_TOKENS)
            for number in range(looks)
        ]
        kind = "image_generation.completed"
        usage = {"usage": _image_usage(tokens)} if behaviour.usage else {}
        return Plan([*parts, Part(event({"type": kind, **shown, **usage}, kind), IMAGE_TOKENS)], tokens)


def _image_usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.prompt_tokens,
        "input_tokens_details": {"text_tokens": tokens.prompt_tokens, "image_tokens": 0},
        "output_tokens": tokens.completion_tokens,
        "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
    }


class Speech(Errors):
    """POST /audio/speech: silence, of which tokens are reported in streams alone."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        if not request.body["voice"]:
            raise ValueError("voice: is needed")
        said = str(request.body["input"])
        return _parsed(request, said, words(said), stream=request.body.get("stream_format") == "sse")

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """Sound in the format that was asked for."""
        said = request.question
        wanted = request.body.get("response_format") or "mp3"
        spent = Tokens(characters=len(said))
        headers = (("content-type", _TYPES.get(wanted, "audio/mpeg")),)
        return Plan([Part(silence(wanted, len(said) * CHARACTER_MS))], spent, headers)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The sound in pieces of a second."""
        length_ms = len(request.question) * CHARACTER_MS
        wanted = request.body.get("response_format") or "mp3"
        kind, parts = "speech.audio.delta", []
        for begin_ms in range(0, length_ms, 1000):
            sound = silence(wanted, min(1000, length_ms - begin_ms))
            shown = {"type": kind, "audio": base64.b64encode(sound).decode()}
            parts.append(Part(event(shown, kind), TOKENS_A_SECOND))
        tokens = Tokens(request.prompt_tokens, len(parts) * TOKENS_A_SECOND, characters=len(request.question))
        usage = {
            "input_tokens": tokens.prompt_tokens,
            "output_tokens": tokens.completion_tokens,
            "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
        }
        kind = "speech.audio.done"
        done = {"type": kind, **({"usage": usage} if behaviour.usage else {})}
        return Plan([*parts, Part(event(done, kind))], tokens)


class Transcriptions(Errors):
    """POST /audio/transcriptions; a model whose name says whisper is billed by the second."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request; its file has become a mapping."""
        if not isinstance(request.body["file"], Mapping):
            raise TypeError("file: expected a file")
        return _parsed(request, str(request.body.get("prompt", "")))

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """There is none."""
        raise TypeError("stream: is not supported")

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """What was said in a WAV file, or in any other one second."""
        seconds = request.body["file"]["seconds"]
        text = f"heard {seconds} seconds of sound"
        spent = Tokens(audio_ms=seconds * 1000)
        usage: dict[str, Any] = {"type": "duration", "seconds": seconds}
        if "whisper" not in request.model:
            heard, said = seconds * TOKENS_A_SECOND, words(text)
            spent = Tokens(heard, said, audio_ms=seconds * 1000)
            usage = {
                "type": "tokens",
                "input_tokens": heard,
                "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
                "output_tokens": said,
                "total_tokens": heard + said,
            }
        wanted = request.body.get("response_format", "json")
        if wanted in ("text", "srt", "vtt"):
            said_so = f"{text}\n" if wanted == "text" else f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n"
            return Plan([Part(said_so.encode())], spent, (("content-type", "text/plain; charset=utf-8"),))
        shown: dict[str, Any] = {"text": text, **({"usage": usage} if behaviour.usage else {})}
        if wanted == "verbose_json":
            shown |= {"task": "transcribe", "language": "english", "duration": float(seconds), "segments": []}
        return Plan([Part(dump(shown))], spent)


def silence(kind: str, milliseconds: int) -> bytes:
    """Silent sound of a length: wav, pcm, or anything else as mp3."""
    if kind == "pcm":
        return bytes(48 * milliseconds)
    if kind != "wav":
        return _MP3_FRAME * max(1, round(milliseconds / _MP3_FRAME_MS))
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * (8 * milliseconds))
    return written.getvalue()


def form(body: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a form; a file as its name, its type, its length and how many seconds it says that it is."""
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    found: dict[str, Any] = {}
    for part in body.split(boundary)[1:-1]:
        head, _, value = part[2:-2].partition(b"\r\n\r\n")
        lines = {line.partition(b":")[0].lower(): line.decode() for line in head.split(b"\r\n")}
        words_of = {
            name.strip(): given.strip('"')
            for name, _, given in (one.partition("=") for one in lines[b"content-disposition"].split(";"))
        }
        name = words_of["name"]
        if "filename" in words_of:
            found[name] = {
                "name": words_of["filename"],
                "type": lines.get(b"content-type", "").partition(":")[2].strip(),
                "crc32": crc32(value),
                "seconds": _seconds(value),
            }
        elif name.endswith("[]"):
            found.setdefault(name.removesuffix("[]"), []).append(value.decode())
        else:
            found[name] = value.decode()
    return found


def _seconds(content: bytes) -> int:
    """Whole seconds, rounded up; one of what is no WAV file."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            seconds: float = file.getnframes() / file.getframerate()
            return max(1, math.ceil(seconds))
    except (wave.Error, EOFError, RuntimeError, ZeroDivisionError):
        # What Python's reader raises at headers that lie.
        return 1

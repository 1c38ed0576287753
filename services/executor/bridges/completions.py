"""Legacy completions by a model that only chats: the prompt is the user's message, the reply is the text."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.chassis.deployments import Deployment
from services.executor.bridges.base import objects, taken, unsupported

# What a chat cannot do, and what says so.
_IMPOSSIBLE = {
    "suffix": "a chat model cannot write what stands before a text",
    "echo": "a chat model does not repeat its prompt",
    "logprobs": "a chat model's token probabilities have another shape",
}
_SAME = "frequency_penalty logit_bias max_tokens n presence_penalty seed stop temperature top_p user".split()
_HEAD = ("id", "created", "model", "system_fingerprint", "service_tier")


class CompletionsBridge:
    """A completion as a chat."""

    def __init__(self, body: Mapping[str, Any], deployment: Deployment) -> None:  # noqa: ARG002
        """Translate a body.

        Raises:
            Failed: it asks for what a chat cannot do.
        """
        for name, why in _IMPOSSIBLE.items():
            if body.get(name):
                raise unsupported(name, why)
        if (body.get("best_of") or 1) > (body.get("n") or 1):
            raise unsupported("best_of", "a chat model gives every answer that it writes")
        prompt = body["prompt"]
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise unsupported("prompt", "a chat model takes one text")
        self.body = {**taken(body, *_SAME), "messages": [{"role": "user", "content": prompt}]}

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The text of each message."""
        choices = [
            _choice(choice, (choice.get("message") or {}).get("content"))
            for choice in objects(answer.get("choices"))
        ]
        return {**_framed(answer), "choices": choices, "usage": answer.get("usage")}

    def events(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The text of each delta."""
        choices = [
            _choice(choice, (choice.get("delta") or {}).get("content"))
            for choice in objects(chunk.get("choices"))
        ]
        usage = {"usage": chunk["usage"]} if chunk.get("usage") else {}
        yield {**_framed(chunk), "choices": choices, **usage}

    def end(self, *, done: bool) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Nothing follows."""
        return iter(())


def _framed(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"object": "text_completion", **{name: part[name] for name in _HEAD if name in part}}


def _choice(choice: Mapping[str, Any], text: Any) -> dict[str, Any]:
    return {
        "index": choice.get("index") or 0,
        "text": text if isinstance(text, str) else "",
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
    }

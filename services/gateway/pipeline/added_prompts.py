"""The operator's system prompts: counted before the decision, chosen by it, and added to what the executor gets.

Which of them apply is known only when a request was classified and a model selected. Until then the longest of each
kind counts, in the bound that money is reserved for as in the estimate for context windows and tokens per minute. The
text of a model is that of the first candidate; it stays where another one answers in the end.

Texts of stored prompts change while the gateway runs. A request keeps those that it was counted with.
"""

from dataclasses import replace
from typing import Any

from lumni.classifier.v1 import classifier_pb2

from services.chassis.enums import word
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.decision import Decision
from services.gateway.prompts.system_prompts import Rule, SystemPrompts
from services.gateway.requests import prompt_size, system_text
from services.gateway.requests.model_request import ModelRequest

# What an admin sets to false in a key's metadata for a key that gets none.
KEY_SWITCH = "system_prompts"


class SystemPromptRules:
    """What is added to which requests.

    Args:
        prompts: The texts.

    """

    def __init__(self, prompts: SystemPrompts) -> None:
        self._prompts = prompts
        self._digest = prompts.digest()

    def apply_to(self, caller: Caller, request: ModelRequest) -> bool:
        """Whether a request gets any: it is a conversation, and neither it nor its key wants none."""
        return (
            bool(self._prompts)
            and request.operation in system_text.CONVERSATIONS
            and request.hints.system_prompts
            and caller.metadata.get(KEY_SWITCH) is not False
        )

    def fingerprint(self, caller: Caller, request: ModelRequest) -> bytes:
        """Tells apart requests that may get different texts; empty for one that gets none.

        Which ones it gets of these texts follows from its body, its plan and the configuration.
        """
        return self._digest if self.apply_to(caller, request) else b""

    def vary_by_message(self, caller: Caller, request: ModelRequest) -> bool:
        """Whether it follows from what a request asks which of them it gets."""
        prompts = self._prompts
        return self.apply_to(caller, request) and bool(
            prompts.categories or prompts.languages or prompts.models
        )

    def counted(self, caller: Caller, request: ModelRequest) -> ModelRequest:
        """The request with the most tokens that may be added to its prompt."""
        if not self.apply_to(caller, request):
            return request
        longest = filter(None, self._prompts.longest(caller.plan.name))
        sizes = [prompt_size.of_text(text + system_text.SEPARATOR) for text in longest]
        bound, likely = (sum(counts) for counts in zip(*sizes, strict=True)) if sizes else (0, 0)
        return replace(
            request,
            prompt_tokens=request.prompt_tokens + bound + prompt_size.MESSAGE_TOKENS,
            likely_prompt_tokens=request.likely_prompt_tokens + likely,
        )

    def chosen(self, caller: Caller, request: ModelRequest, decision: Decision) -> tuple[Rule, ...]:
        """The rules that are added after a decision; none whose text the conversation has already."""
        if not self.apply_to(caller, request):
            return ()
        candidates = decision.selection.candidates
        rules = self._prompts.applying(
            plan=caller.plan.name,
            category=word(classifier_pb2.Category, decision.classification.category) or "",
            language=decision.classification.language,
            model=candidates[0].model if candidates else "",
        )
        said = list(system_text.texts(request.operation, request.body))
        return tuple(rule for rule in rules if not any(rule.text in text for text in said))


def added(rules: tuple[Rule, ...], request: ModelRequest, body: dict[str, Any]) -> dict[str, Any]:
    """The body with the rules in front of what its system says."""
    if not rules:
        return body
    text = system_text.SEPARATOR.join(rule.text for rule in rules)
    return system_text.preceded(request.operation, body, text)

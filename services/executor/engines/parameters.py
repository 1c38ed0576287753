"""Which parameters of a chat a model takes.

One that cannot change what is said is left out for a model that does not know it, and named in the report. Any other
makes the next candidate the better one, unless the configuration says to leave it out too (`drop_params`,
`additional_drop_params`).
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import litellm

from services.chassis.deployments import Deployment
from services.executor.engines.outcomes import ErrorClass, Failed

# What a configuration may set for all requests of a deployment; a request's own go before them.
DEFAULTS = frozenset(
    "temperature max_tokens top_p seed stop presence_penalty frequency_penalty reasoning_effort thinking".split()
)
# They say for whom, how soon, at what effort or where an answer is kept, and not what is in it. OpenAI promises of a
# seed no more than to try.
_HARMLESS = frozenset(
    """
    metadata modalities parallel_tool_calls prediction prompt_cache_key prompt_cache_retention reasoning_effort
    safety_identifier seed service_tier store thinking user verbosity
    """.split()
)
# Values that ask for what happens anyway.
_USUAL: Mapping[str, Any] = {
    "frequency_penalty": 0,
    "logprobs": False,
    "n": 1,
    "presence_penalty": 0,
    "response_format": {"type": "text"},
    "temperature": 1,
    "top_p": 1,
}
# Of the harmless ones, those that change what is said where they are not as usual.
_HARMLESS_IF: Mapping[str, Any] = {"modalities": ["text"], "parallel_tool_calls": True}
# Providers with a format of their own, who refuse unknown fields: the fields they know beyond OpenAI's.
OWN_FIELDS: Mapping[str, frozenset[str]] = {
    "anthropic": frozenset("top_k cache_control output_config".split()),
    "gemini": frozenset("top_k safety_settings".split()),
}
# What LiteLLM passes on by itself, whatever it lists.
_ALWAYS = frozenset(("messages", "max_tokens", "max_completion_tokens"))
# What OpenAI documents and LiteLLM does not list: who takes it.
_UNLISTED = frozenset(("metadata", "prompt_cache_retention"))
_TAKE_UNLISTED = frozenset(("openai", "azure"))
# A step of a path: a field, of all items of a list with [*].
_STEP = re.compile(r"^(?P<name>\w+)(?P<items>\[\*\])?$")
# Names of a caller's own choice are reported up to so many characters, and so many of them.
_LONGEST, _MOST = 64, 32


def fitted(
    deployment: Deployment,
    arguments: Mapping[str, Any],
    rest: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """A chat's parameters without those that the model does not take, and the names of those.

    Args:
        deployment: The model.
        arguments: What LiteLLM takes as arguments.
        rest: What travels as it is.
        settings: What is configured for the deployment.

    Raises:
        Failed: one changes what is said, so another model has to be asked.

    """
    dropped = list(_named(settings))
    for path in dropped:
        arguments, rest = without(arguments, path), without(rest, path)
    known = _supported(deployment)
    for name in [*arguments, *(_UNLISTED & rest.keys())]:
        if known is None or name in known:
            continue
        value = arguments.get(name, rest.get(name))
        if not (settings.get("drop_params") or _is_harmless(name, value)):
            raise Failed(
                ErrorClass.UNSUPPORTED,
                f"{name}: {deployment.model} does not take it; leave it out or choose another model",
                param=name,
            )
        arguments, rest = without(arguments, name), without(rest, name)
        dropped.append(name)
    return dict(arguments), dict(rest), shown(dropped)


def shown(names: list[str]) -> tuple[str, ...]:
    """Names as a report shows them."""
    return tuple(name[:_LONGEST] for name in dict.fromkeys(names))[:_MOST]


def without(value: Any, path: str) -> Any:
    """The same without a field; `tools[*].function.strict` means that of each item."""
    first, _, more = path.partition(".")
    step = _STEP.match(first)
    if step is None or not isinstance(value, Mapping) or step["name"] not in value:
        return value
    name, inner = step["name"], value[step["name"]]
    if not more:
        return {key: one for key, one in value.items() if key != name}
    if step["items"]:
        return {**value, name: [without(one, more) for one in inner]} if isinstance(inner, list) else value
    return {**value, name: without(inner, more)}


def _named(settings: Mapping[str, Any]) -> list[str]:
    """What the configuration leaves out of every request."""
    named = settings.get("additional_drop_params")
    return [str(one) for one in named] if isinstance(named, list) else []


def _is_harmless(name: str, value: Any) -> bool:
    if name in _HARMLESS_IF:
        return bool(value == _HARMLESS_IF[name])
    return name in _HARMLESS or (name in _USUAL and bool(value == _USUAL[name]))


@cache
def _supported(deployment: Deployment) -> frozenset[str] | None:
    """What a model takes, as LiteLLM knows; None where it knows nothing of its provider."""
    found = litellm.get_supported_openai_params(
        deployment.litellm_model, custom_llm_provider=deployment.provider
    )
    if found is None:
        return None
    unlisted = _UNLISTED if deployment.provider in _TAKE_UNLISTED else frozenset[str]()
    own = OWN_FIELDS.get(deployment.provider, frozenset())
    return frozenset(found) | _ALWAYS | unlisted | own

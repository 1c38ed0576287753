"""A call made ready for a provider, once, for whichever engine sends it.

Pictures that the provider cannot fetch are fetched here, the body is divided into what LiteLLM takes as arguments and
what travels as it is, and the deployment's own settings are resolved. Nothing that a caller sends can set a host, key,
header, timeout, mock or fallback.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from litellm.types.utils import all_litellm_params

from services.chassis import telemetry
from services.chassis.byte_budget import Lease
from services.chassis.deployments import Deployment, reference
from services.chassis.operations import Operation
from services.executor.engines import parameters
from services.executor.engines.base import Call
from services.executor.engines.cache_marks import CacheMarks
from services.executor.engines.images import FETCHED_HERE, Images
from services.executor.engines.litellm_errors import untranslated
from services.executor.engines.outcomes import Failed

# What OpenAI documents and LiteLLM takes as an argument; everything else travels in extra_body.
ARGUMENTS: Mapping[Operation, frozenset[str]] = {
    Operation.CHAT: frozenset(
        """
        messages functions function_call temperature top_p n stop max_tokens max_completion_tokens modalities
        prediction audio presence_penalty frequency_penalty logit_bias user response_format seed tools tool_choice
        parallel_tool_calls logprobs top_logprobs reasoning_effort verbosity safety_identifier service_tier store
        prompt_cache_key thinking
        """.split()
    ),
    Operation.COMPLETIONS: frozenset(
        """
        prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop suffix
        temperature top_p user
        """.split()
    ),
    Operation.EMBEDDINGS: frozenset("input dimensions encoding_format user".split()),
    Operation.MODERATIONS: frozenset(("input",)),
    Operation.IMAGE_GENERATION: frozenset(
        """
        prompt background moderation n output_compression output_format quality response_format size style user
        """.split()
    ),
    Operation.AUDIO_SPEECH: frozenset("input voice instructions response_format speed".split()),
    Operation.AUDIO_TRANSCRIPTION: frozenset(
        "include language prompt response_format temperature timestamp_granularities".split()
    ),
    Operation.RESPONSES: frozenset(
        """
        input include instructions max_output_tokens parallel_tool_calls reasoning store temperature text tool_choice
        tools top_p truncation user
        """.split()
    ),
    Operation.MESSAGES: frozenset(
        """
        messages max_tokens metadata stop_sequences system temperature thinking tool_choice tools top_k top_p
        """.split()
    ),
}
# With these a router would call, and bill us for, other models, hosts and tools than the admitted.
ROUTING: Mapping[str, frozenset[str]] = {
    "openrouter": frozenset("models route provider plugins preset transforms".split()),
}
# LiteLLM's own switches: never a provider's business, so never let through from a caller.
SWITCHES = frozenset(all_litellm_params) - {"metadata", "tags", "user"} | frozenset(
    """
    api_base api_key api_version base_url client custom_llm_provider deployment_id drop_params extra_body
    extra_headers extra_query fallbacks headers mock_response mock_tool_calls model model_list organization stream
    stream_options timeout
    """.split()
)
# What of a deployment's settings is applied here, and no business of LiteLLM's.
_OURS = parameters.DEFAULTS | {"additional_drop_params"}
# Without an address of its own LiteLLM would take OpenAI's from the environment.
_ADDRESSES = {"openai": "https://api.openai.com/v1"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that either engine can send.

    Args:
        call: The call; its body holds no address to fetch, and marks of what a provider shall keep as `cache_marks` has
            them.
        arguments: What of the body LiteLLM takes as arguments.
        rest: What of the body travels as it is.
        settings: What else is configured for the deployment, under LiteLLM's names.
        base: The deployment's address; empty where LiteLLM knows its provider's one address.

    """

    call: Call
    arguments: Mapping[str, Any]
    rest: Mapping[str, Any]
    settings: Mapping[str, Any]
    base: str

    @property
    def key(self) -> str:
        """The deployment's key; LiteLLM wants one even where none is needed."""
        return self.call.key or "none"

    @property
    def drops_unsupported(self) -> bool:
        """Whether fields that the provider does not support are dropped instead of refused."""
        return bool(self.settings.get("drop_params"))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the deployment is sent besides, lower case: its configuration's, and the trace's."""
        return {name.lower(): value for name, value in (self.settings.get("extra_headers") or {}).items()}


class Preparer:
    """Makes calls ready.

    Args:
        environ: Where addresses and settings that are references are resolved.
        images: Fetches the pictures that a provider cannot.

    """

    def __init__(self, environ: Mapping[str, str], images: Images | None = None) -> None:
        self._environ = environ
        self._images = images or Images()
        self._marks = CacheMarks()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._images.aclose()

    @asynccontextmanager
    async def prepared(self, call: Call) -> AsyncIterator[Prepared]:
        """A call made ready; the pictures that were fetched for it are counted as held until the block ends.

        Raises:
            Failed: a picture that may not be fetched, or a body that cannot be read.
        """
        with self._images.lease() as lease:
            try:
                prepared = await self._prepare(call, lease)
            except Failed:
                raise
            except Exception as error:
                # Too deep a body, say: whatever it is, no provider has a part in it.
                raise untranslated(error, call.key) from error
            yield prepared

    async def _prepare(self, call: Call, lease: Lease) -> Prepared:
        provider = call.deployment.provider
        if provider in FETCHED_HERE:
            body = await self._images.inlined(call.body, lease)
            if provider in ("gemini", "vertex_ai"):
                # LiteLLM would create, and be billed for, a cache at Google's for every marked message.
                body = _without_cache_marks(body)
            call = replace(call, body=body)
        if call.operation in (Operation.CHAT, Operation.MESSAGES):
            marked = self._marks.marked(call.deployment, call.operation, call.body)
            if marked is not call.body:
                call = replace(call, body=marked)
        settings = self._settings(call.deployment)
        arguments, rest = split(call)
        arguments = {**_defaults(call, settings, arguments), **arguments}
        if call.operation is Operation.CHAT:
            arguments, rest, dropped = parameters.fitted(call.deployment, arguments, rest, settings)
            call.progress.dropped = parameters.shown([*dropped, *_left_out(call, arguments, rest, dropped)])
        settings = {name: value for name, value in settings.items() if name not in _OURS}
        return Prepared(call, arguments, rest, settings, self._address(call.deployment))

    def _settings(self, deployment: Deployment) -> dict[str, Any]:
        settings: dict[str, Any] = {
            name: self._environ.get(reference(value), "") if reference(value) else value
            for name, value in deployment.params.items()
        }
        if deployment.send_traceparent and (parent := telemetry.traceparent()):
            settings["extra_headers"] = {"traceparent": parent, **(settings.get("extra_headers") or {})}
        return settings

    def _address(self, deployment: Deployment) -> str:
        if deployment.api_base_ref:
            return self._environ.get(deployment.api_base_ref, "")
        return deployment.api_base or _ADDRESSES.get(deployment.provider, "")


def split(call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a body LiteLLM takes as arguments, and what travels as it is; its switches do neither."""
    deployment = call.deployment
    known, barred = _known(call.operation, deployment.provider), _barred(_router(deployment))
    arguments = {name: value for name, value in call.body.items() if name in known and value is not None}
    if "max_completion_tokens" in arguments and not _reads_max_completion_tokens(deployment):
        arguments["max_tokens"] = arguments.pop("max_completion_tokens")
    if deployment.provider in parameters.OWN_FIELDS:
        return arguments, {}
    rest = {name: value for name, value in call.body.items() if name not in known and name not in barred}
    return arguments, rest


@cache
def _known(operation: Operation, provider: str) -> frozenset[str]:
    """The fields that LiteLLM takes as arguments."""
    return ARGUMENTS[operation] | parameters.OWN_FIELDS.get(provider, frozenset())


@cache
def _barred(router: str) -> frozenset[str]:
    """The fields that no provider gets."""
    return SWITCHES | ROUTING.get(router, frozenset())


def _defaults(call: Call, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What is configured for every request of a deployment, as far as this operation has it."""
    known = (parameters.DEFAULTS & ARGUMENTS[call.operation]) & settings.keys()
    # One name of the limit is enough: two are refused.
    capped = frozenset(("max_tokens",)) if "max_completion_tokens" in arguments else frozenset[str]()
    return {name: settings[name] for name in known - capped}


def _left_out(
    call: Call, arguments: Mapping[str, Any], rest: Mapping[str, Any], dropped: Iterable[str]
) -> Iterator[str]:
    """What a provider with a format of its own is not sent, as it knows nothing of it."""
    if call.deployment.provider in parameters.OWN_FIELDS:
        sent = {*arguments, *rest, *dropped, "max_completion_tokens", "model"} | SWITCHES
        yield from (name for name, value in call.body.items() if name not in sent and value is not None)


def _router(deployment: Deployment) -> str:
    """Whose rules a deployment follows: OpenRouter's address may stand behind any provider's name."""
    return "openrouter" if "openrouter.ai" in deployment.api_base else deployment.provider


def _reads_max_completion_tokens(deployment: Deployment) -> bool:
    """Whether a provider reads the newer name of the limit; one that ignores it writes on at our expense.

    LiteLLM translates the old name to each provider's own, OpenAI's newer models included, but not the new one to all.
    """
    elsewhere = deployment.api_base or deployment.api_base_ref
    return deployment.provider == "azure" or (deployment.provider == "openai" and not elsewhere)


def _without_cache_marks(value: Any) -> Any:
    """The same without Anthropic's `cache_control`."""
    if isinstance(value, dict):
        return {name: _without_cache_marks(one) for name, one in value.items() if name != "cache_control"}
    return [_without_cache_marks(one) for one in value] if isinstance(value, list) else value

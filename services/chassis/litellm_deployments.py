"""Reads `model_list` of LiteLLM's configuration: each entry a deployment, or one for each model of a wildcard."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zoneinfo import available_timezones

from services.chassis import addresses, hosted_tools, litellm_settings, prices, wildcards
from services.chassis.deployments import LIMITS, Deployment, FreeQuota, reference
from services.chassis.operations import BY_UNIT, MODES
from services.chassis.prices import Listing, Price
from services.chassis.yaml import Section

# Where LiteLLM looks for a key when the file names none.
DEFAULT_KEYS: Mapping[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "azure_ai": "AZURE_AI_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "cohere_chat": "COHERE_API_KEY",
    "deepinfra": "DEEPINFRA_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "featherless_ai": "FEATHERLESS_AI_API_KEY",
    "fireworks_ai": "FIREWORKS_AI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "xai": "XAI_API_KEY",
}
# Where it looks for the address of a provider that has no one address.
_DEFAULT_BASES: Mapping[str, str] = {
    "azure": "AZURE_API_BASE",
    "azure_ai": "AZURE_AI_API_BASE",
    "hosted_vllm": "HOSTED_VLLM_API_BASE",
    "lm_studio": "LM_STUDIO_API_BASE",
}
# What a `*` alone stands for: the models of the providers whose keys callers of LiteLLM set most.
_COMMON = ("openai", "anthropic", "gemini", "mistral", "groq", "deepseek", "xai", "cohere")
# Models that are named without a provider, as LiteLLM knows them.
_BARE = ("openai", "anthropic", "cohere")
_MAKERS: Mapping[str, str] = {
    **dict.fromkeys(("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-", "ft:gpt-"), "openai"),
    "claude-": "anthropic",
    "command": "cohere",
}
# Servers that people run themselves: whoever calls them pays nobody by the token.
LOCAL = frozenset(
    "ollama ollama_chat hosted_vllm vllm lm_studio llamafile docker_model_runner xinference triton oobabooga "
    "lemonade petals".split()
)
# The group of a deployment that names none.
STANDARD = "standard"
# Our words for what a request may need of a model, by the parameters that a configuration may leave out.
_DROPPABLE: Mapping[str, str] = {"n": "several_choices", "logprobs": "logprobs"}
# What a model is taken to be able to do where nobody says: what is told in text alone.
_ASSUMED = frozenset(("tools", "json_schema", "several_choices", "logprobs"))


@dataclass(frozen=True, slots=True)
class _Found:
    """A deployment before it has its id, and where it was found."""

    deployment: Deployment
    info: Section
    is_wild: bool


def read(entries: Iterable[Section], *, drops: bool) -> tuple[Deployment, ...]:
    """All deployments, in the file's order; mistakes and warnings are noted in the sections.

    Args:
        entries: Those of the file.
        drops: Whether one that does not say otherwise leaves out the parameters that its model does not take.

    """
    found = [one for place, entry in enumerate(entries) for one in _of_entry(place, entry)]
    named = {one.deployment.model for one in found if not one.is_wild}
    # What has an entry of its own is not what a wildcard stands for.
    left = [one for one in found if not one.is_wild or one.deployment.model not in named]
    return tuple(_dropping(one, drops=drops) for one in _identified(left))


def _dropping(deployment: Deployment, *, drops: bool) -> Deployment:
    """The deployment, which takes every parameter that it is configured to leave out."""
    params = {"drop_params": True, **deployment.params} if drops else deployment.params
    left_out = frozenset(params.get("additional_drop_params") or ())
    words = {word for name, word in _DROPPABLE.items() if params.get("drop_params") or name in left_out}
    return replace(deployment, params=params, capabilities=deployment.capabilities | words)


def _identified(found: Iterable[_Found]) -> Iterator[Deployment]:
    """The deployments with their ids: those of the file, or names that are numbered where they are not unique."""
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    for one in found:
        deployment = one.deployment
        ident = deployment.id
        if not ident:
            ident = f"{deployment.model}@{deployment.provider}"
            seen[ident] += 1
            if (count := seen[ident]) > 1:
                ident += f"#{count}"
        if ident in taken:
            one.info.mistake("id", f"{ident} is taken by another deployment")
        taken.add(ident)
        yield replace(deployment, id=ident)


def _of_entry(place: int, entry: Section) -> Iterator[_Found]:
    entry.require("model_name", "litellm_params")
    params, info = entry.section("litellm_params"), entry.section("model_info")
    litellm_settings.judge(params, "litellm_params")
    litellm_settings.judge(info, "model_info")
    name, model = entry.text("model_name", ""), params.text("model", "")
    if not name or not model:
        params.require("model")
        return
    provider, rest = _provider(params, model)
    if wildcards.is_wildcard(name) or wildcards.is_wildcard(model):
        for public, maker, found in _expanded(entry, params, name, provider, rest):
            yield _Found(_deployment(place, public, maker, found, params, info), info, is_wild=True)
    elif not provider:
        params.mistake("model", "name the provider too, as in openai/gpt-4o")
    else:
        yield _Found(_deployment(place, name, provider, rest, params, info), info, is_wild=False)


def _expanded(
    entry: Section, params: Section, name: str, provider: str, model: str
) -> Sequence[tuple[str, str, str]]:
    if name.count("*") != model.count("*"):
        entry.mistake(
            "model_name",
            "a name with * needs a model with as many, as in openai/*; to call one model by many names, list them "
            "in router_settings.model_group_alias",
        )
        return ()
    if not provider and model != "*":
        params.mistake("model", "name the provider too, as in openai/*")
        return ()
    if provider in LOCAL or addresses.is_private(_base(params)):
        entry.warn("model_name", "only that server knows its models: give each an entry of its own; ignored")
        return ()
    expanded = sorted(wildcards.expand(name, provider, model, _COMMON))
    if not expanded:
        entry.warn(
            "model_name",
            f"the price table knows no model of {provider} by this name: give each model an entry of its own; ignored",
        )
    return expanded


def _provider(params: Section, model: str) -> tuple[str, str]:
    named = params.text("custom_llm_provider", "")
    first, slash, rest = model.partition("/")
    if named:
        return named, rest if slash and first == named else model
    if slash:
        return first, rest
    if model == "*":
        return "", model
    for provider in _BARE:
        if prices.listing(provider, model):
            return provider, model
    return next((maker for start, maker in _MAKERS.items() if model.startswith(start)), ""), model


def _base(params: Section) -> str:
    return params.text("api_base", params.text("base_url", ""))


def _price(provider: str, model: str, listed: Listing | None, params: Section, info: Section) -> Price:
    """What its calls cost, and searches of the web where the file says so."""
    price = _token_price(provider, model, listed, params, info)
    try:
        searches = prices.web_search({word: info.plain(word, None) for word in prices.WEB_SEARCH})
    except ValueError as error:
        info.mistake("", str(error))
        return price
    if searches is not None and provider not in hosted_tools.BOUNDS_SEARCHES:
        info.mistake(
            prices.WEB_SEARCH[0],
            f"{provider} takes no bound on its searches, so no budget could cover them; only "
            f"{', '.join(sorted(hosted_tools.BOUNDS_SEARCHES))} does",
        )
    return replace(price, web_search=searches)


def _token_price(provider: str, model: str, listed: Listing | None, params: Section, info: Section) -> Price:
    own = {
        key: part.plain(key, None) for part in (params, info) for key in part.keys if key in prices.OVERRIDES
    }
    if "free_quota" in info and not own:
        # Beyond its quota such a key is refused, not billed; one that is billed is a deployment of its own.
        own = dict.fromkeys(("input_cost_per_token", "output_cost_per_token", prices.PER_REQUEST), 0)
    if "cost_per_token" in params:
        flat = params.plain("cost_per_token", None)
        own = {"input_cost_per_token": flat, "output_cost_per_token": flat, **own}
    try:
        price = prices.overridden(listed.price if listed else None, own)
    except ValueError as error:
        params.mistake("", str(error))
        return prices.UNPRICED
    if price is not None:
        return price
    if provider in LOCAL or addresses.is_private(_base(params)):
        return prices.FREE
    params.warn(
        "model",
        f"the price of {provider}/{model} is not known, so its cost is null and no key with a budget reaches it; set "
        "model_info.input_cost_per_token and output_cost_per_token in US dollars, 0 for a model that costs nothing, "
        "or model_info.base_model",
    )
    return prices.UNPRICED


def _capabilities(listed: Listing | None, info: Section, price: Price) -> frozenset[str]:
    capabilities = set(listed.capabilities if listed else _ASSUMED)
    for key in info.keys:
        if key.startswith("supports_"):
            change = capabilities.add if info.flag(key, default=False) else capabilities.discard
            change(prices.capability(key))
    # Whatever the model can do: searches are allowed where they have a price.
    (capabilities.add if price.web_search else capabilities.discard)("web_search")
    return frozenset(capabilities)


def _deployment(
    place: int, name: str, provider: str, model: str, params: Section, info: Section
) -> Deployment:
    listed = prices.listing(provider, model)
    base_model = info.text("base_model", params.text("base_model", ""))
    if listed is None and base_model:
        first, slash, rest = base_model.partition("/")
        listed = prices.listing(first, rest) if slash else prices.listing(provider, base_model)
    mode = info.text("mode", listed.mode if listed else "chat")
    if not any(mode in MODES[operation] for operation in BY_UNIT):
        litellm_settings.check_units(params)
        litellm_settings.check_units(info)
    price = _price(provider, model, listed, params, info)
    key, base = params.text("api_key", ""), _base(params)
    base_ref = reference(base) or ("" if base else _DEFAULT_BASES.get(provider, ""))
    return Deployment(
        id=info.text("id", ""),
        entry=place,
        model=name,
        provider=provider,
        litellm_model=model,
        price=price,
        mode=mode,
        api_base="" if reference(base) else base,
        api_base_ref=base_ref,
        # A provider's own key stays with the provider: no server of the operator's is shown it unasked.
        key_ref=reference(key)
        or ("" if key or addresses.is_private(base) else DEFAULT_KEYS.get(provider, "")),
        key_in_file=bool(key) and not reference(key),
        rpm=params.integer("rpm", info.integer("rpm", 0, low=0), low=0),
        tpm=params.integer("tpm", info.integer("tpm", 0, low=0), low=0),
        max_parallel_requests=params.integer("max_parallel_requests", 0, low=0),
        order=params.integer("order", 0, low=0),
        weight=params.number("weight", 1.0, low=0),
        timeout_s=params.number("timeout", 0.0, low=0),
        stream_timeout_s=params.number("stream_timeout", 0.0, low=0),
        num_retries=params.integer("num_retries", params.integer("max_retries", None, low=0), low=0),
        region=info.text("region", params.text("region_name", "")),
        context_window=info.integer("max_input_tokens", listed.context_window if listed else 0, low=0),
        max_output_tokens=info.integer("max_output_tokens", listed.max_output_tokens if listed else 0, low=0),
        capabilities=_capabilities(listed, info, price),
        access_groups=info.texts("access_groups") or (STANDARD,),
        free_quota=_free_quota(info.section("free_quota")) if "free_quota" in info else None,
        priority=info.number("priority", 0.5, low=0, high=1),
        proxies=info.texts("proxies"),
        proxy_interval_s=info.number("proxy_interval_s", 60.0, low=1),
        send_traceparent=info.flag("send_traceparent", default=False),
        base_model=base_model,
        endpoints=info.texts("supported_endpoints"),
        params={word: params.plain(word, None) for word in params.keys if word in litellm_settings.PASSED_ON},
    )


def _free_quota(section: Section) -> FreeQuota:
    limits = {limit: section.integer(limit, 0, low=0) for limit in LIMITS}
    zone = section.text("reset", "UTC")
    if zone not in available_timezones():
        section.mistake("reset", "expected a time zone, as in America/Los_Angeles")
    return FreeQuota(**limits, reset=zone)

"""Reads LiteLLM's own `litellm_config.yaml`, without ever holding a key.

The file's spelling is LiteLLM's, with `env/NAME` beside `os.environ/NAME` and flat `fallbacks`. A setting that Lumni
does not know or does not act on is warned about. One that touches money, limits or auth is refused: a guard that is
not there must not be relied on.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from zoneinfo import available_timezones

from services.chassis import prices, yaml
from services.chassis.deployments import LIMITS, Deployment, Fleet, FreeQuota, reference
from services.chassis.prices import Listing, Price
from services.chassis.yaml import Section

# Where LiteLLM looks for a key when the file names none.
DEFAULT_KEYS: Mapping[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "cohere_chat": "COHERE_API_KEY",
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
# litellm_params that the executor hands to LiteLLM as they are, after resolving references.
_PASSED_ON = frozenset(
    "api_version organization extra_headers drop_params temperature max_tokens top_p aws_access_key_id "
    "aws_secret_access_key aws_region_name vertex_project vertex_location vertex_credentials".split()
)
_PARAMS = (
    _PASSED_ON
    | prices.OVERRIDES
    | frozenset(
        "model api_key api_base base_url custom_llm_provider rpm tpm order weight max_parallel_requests timeout "
        "stream_timeout region_name max_retries num_retries cost_per_token base_model".split()
    )
)
# `metadata` is for the operator's own notes.
_INFO = prices.OVERRIDES | frozenset(
    "id mode base_model max_input_tokens max_output_tokens access_groups region free_quota proxies "
    "proxy_interval_s priority metadata".split()
)
_ROUTER = frozenset(
    "routing_strategy num_retries timeout allowed_fails cooldown_time enable_pre_call_checks fallbacks "
    "context_window_fallbacks content_policy_fallbacks default_fallbacks model_group_alias".split()
)
# LiteLLM's, ignored with a warning. None is a guard, although some are named like one.
_IGNORED = frozenset(
    "routing_strategy_args stream_timeout retry_after retry_policy allowed_fails_policy disable_cooldowns "
    "max_fallbacks".split()
)
_LITELLM = frozenset(
    "num_retries request_timeout fallbacks context_window_fallbacks content_policy_fallbacks default_fallbacks "
    "drop_params allowed_fails".split()
)
_CALLBACKS = ("success_callback", "failure_callback", "callbacks")
# Flags of litellm_settings whose effect is fixed here: the value that says so, and why another one is ignored.
_FIXED = {
    "turn_off_message_logging": (True, "Lumni never logs messages"),
    "json_logs": (True, "logs are always JSON lines"),
    "set_verbose": (False, "LUMNI_LOG_LEVEL sets what is logged"),
    "cache": (False, "answers are not cached"),
    "modify_params": (False, "requests are sent as they are"),
}
_TOP = frozenset("model_list router_settings litellm_settings general_settings environment_variables".split())
_GUARDS = re.compile(r"budget|cost|price|spend|key|token|auth|limit|rpm|tpm|quota|block|allow")
ROUTING_STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "usage-based-routing",
    "usage-based-routing-v2",
    "latency-based-routing",
    "cost-based-routing",
)


def load(path: Path) -> Fleet:
    """Read and validate `litellm_config.yaml`.

    Raises:
        Mistakes: every one, with its line.
    """
    root = yaml.load(path)
    _known(root, _TOP)
    for name in ("general_settings", "environment_variables"):
        section = root.section(name)
        for key in section.keys:
            section.plain(key, None)
            section.mistake(
                key, "Lumni takes keys, limits and stores from LUMNI_* and lumni.yaml; remove it here"
            )
    router, litellm = root.section("router_settings"), root.section("litellm_settings")
    _known(router, _ROUTER)
    _known(litellm, _LITELLM | _FIXED.keys() | frozenset(_CALLBACKS))
    _check_fixed(router, litellm)
    deployments = tuple(_deployments(root.items("model_list")))
    if not deployments:
        root.mistake("model_list", "expected at least one deployment")
    aliases = dict(_aliases(router))
    names = {deployment.model for deployment in deployments} | aliases.keys()
    both = (router, litellm)
    fleet = Fleet(
        deployments=deployments,
        aliases=aliases,
        fallbacks=_fallbacks(both, "fallbacks", names),
        context_window_fallbacks=_fallbacks(both, "context_window_fallbacks", names),
        content_policy_fallbacks=_fallbacks(both, "content_policy_fallbacks", names),
        default_fallbacks=tuple(name for part in both for name in part.texts("default_fallbacks")),
        routing_strategy=router.choice("routing_strategy", ROUTING_STRATEGIES, "simple-shuffle"),
        num_retries=router.integer("num_retries", litellm.integer("num_retries", 2, low=0), low=0),
        timeout_s=router.number("timeout", litellm.number("request_timeout", 120.0, low=0.001), low=0.001),
        allowed_fails=router.integer("allowed_fails", litellm.integer("allowed_fails", 3, low=0), low=0),
        cooldown_s=router.number("cooldown_time", 30.0, low=0),
        warnings=root.warnings,
        drop_params=litellm.flag("drop_params", default=False),
    )
    root.finish()
    return fleet


def _known(section: Section, names: frozenset[str]) -> None:
    for key in section.keys:
        section.plain(key, None)
        if key in names:
            continue
        if _GUARDS.search(key) and key not in _IGNORED:
            section.mistake(key, "Lumni does not know it, and it may touch money, limits or auth; remove it")
        else:
            section.warn(key, "Lumni does not know it; ignored")


def _check_fixed(router: Section, litellm: Section) -> None:
    """Note the settings whose effect here is always the same, where the file says otherwise."""
    if not router.flag("enable_pre_call_checks", default=True):
        router.mistake(
            "enable_pre_call_checks",
            "Lumni always checks the context window before a call; remove it, or set it to true",
        )
    for key, (fixed, why) in _FIXED.items():
        if litellm.flag(key, default=fixed) is not fixed:
            litellm.warn(key, f"{why}; ignored")
    for key in _CALLBACKS:
        if litellm.plain(key, None):
            litellm.warn(
                key, "ignored so far: PORTKEY_API_KEY sends spans to Portkey, OTEL_* sends them elsewhere"
            )


def _aliases(router: Section) -> Iterator[tuple[str, str]]:
    aliases = router.section("model_group_alias")
    for alias in aliases.keys:
        target = aliases.plain(alias, None)
        if isinstance(target, dict):
            for key in sorted(target.keys() - {"model"}):
                aliases.warn(alias, f"{key}: Lumni does not know it; ignored")
            target = target.get("model", "")
        yield alias, str(target)


def _fallbacks(sections: Iterable[Section], key: str, names: set[str]) -> dict[str, tuple[str, ...]]:
    """Read `[{a: [b, c]}]`, or flat `{a: [b, c]}`."""
    found: dict[str, tuple[str, ...]] = {}
    for section in sections:
        flat = isinstance(section.plain(key, None), dict)
        for entry in [section.section(key)] if flat else section.items(key):
            for model in entry.keys:
                found[model] = entry.texts(model)
                for name in {model, *found[model]} - names - {"*"}:
                    entry.mistake(model, f"{name}: no such model in model_list")
    return found


def _deployments(entries: Iterable[Section]) -> Iterator[Deployment]:
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    for entry in entries:
        entry.require("model_name", "litellm_params")
        params, info = entry.section("litellm_params"), entry.section("model_info")
        _known(params, _PARAMS)
        _check_info(info)
        name, model = entry.text("model_name", ""), params.text("model", "")
        if not name or not model:
            params.require("model")
            continue
        provider, rest = _provider(params, model)
        if not provider:
            params.mistake("model", "name the provider too, as in openai/gpt-4o")
            continue
        seen[f"{name}@{provider}"] += 1
        count = seen[f"{name}@{provider}"]
        ident = info.text("id", f"{name}@{provider}" + (f"#{count}" if count > 1 else ""))
        if ident in taken:
            info.mistake("id", f"{ident} is taken by another deployment")
        taken.add(ident)
        built = _deployment(ident, name, provider, rest, params, info)
        if built is not None:
            yield built


def _check_info(info: Section) -> None:
    for key in info.keys:
        info.plain(key, None)
        if key in _INFO or key.startswith("supports_"):
            continue
        if "_cost" in key:
            info.mistake(key, "Lumni does not price by it, so what it says would not be billed; remove it")
        else:
            info.warn(key, "Lumni does not know it; ignored")


def _provider(params: Section, model: str) -> tuple[str, str]:
    named = params.text("custom_llm_provider", "")
    first, slash, rest = model.partition("/")
    if named:
        return named, rest if slash and first == named else model
    if slash:
        return first, rest
    for provider in ("openai", "anthropic", "cohere", "cohere_chat"):
        if prices.listing(provider, model):
            return provider, model
    return "", model


def _price(provider: str, model: str, listed: Listing | None, params: Section, info: Section) -> Price | None:
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
        return None
    if price is None:
        params.mistake(
            "model",
            f"the price of {provider}/{model} is not known; set model_info.input_cost_per_token and "
            "output_cost_per_token in US dollars, 0 for a model that costs nothing",
        )
    return price


def _capabilities(listed: Listing | None, info: Section) -> frozenset[str]:
    capabilities = set(listed.capabilities if listed else ())
    for key in info.keys:
        if key.startswith("supports_"):
            change = capabilities.add if info.flag(key, default=False) else capabilities.discard
            change(prices.capability(key))
    return frozenset(capabilities)


def _deployment(
    ident: str, name: str, provider: str, model: str, params: Section, info: Section
) -> Deployment | None:
    listed = prices.listing(provider, model)
    base_model = info.text("base_model", params.text("base_model", ""))
    if listed is None and base_model:
        first, slash, rest = base_model.partition("/")
        listed = prices.listing(first, rest) if slash else prices.listing(provider, base_model)
    price = _price(provider, model, listed, params, info)
    if price is None:
        return None
    key = params.text("api_key", "")
    base = params.text("api_base", params.text("base_url", ""))
    return Deployment(
        id=ident,
        model=name,
        provider=provider,
        litellm_model=model,
        price=price,
        mode=info.text("mode", listed.mode if listed else "chat"),
        api_base="" if reference(base) else base,
        api_base_ref=reference(base),
        key_ref=reference(key) or ("" if key else DEFAULT_KEYS.get(provider, "")),
        key_in_file=bool(key) and not reference(key),
        rpm=params.integer("rpm", 0, low=0),
        tpm=params.integer("tpm", 0, low=0),
        max_parallel_requests=params.integer("max_parallel_requests", 0, low=0),
        order=params.integer("order", 0, low=0),
        weight=params.number("weight", 1.0, low=0),
        timeout_s=params.number("timeout", 0.0, low=0),
        stream_timeout_s=params.number("stream_timeout", 0.0, low=0),
        num_retries=params.integer("num_retries", params.integer("max_retries", None, low=0), low=0),
        region=info.text("region", params.text("region_name", "")),
        context_window=info.integer("max_input_tokens", listed.context_window if listed else 0, low=0),
        max_output_tokens=info.integer("max_output_tokens", listed.max_output_tokens if listed else 0, low=0),
        capabilities=_capabilities(listed, info),
        access_groups=info.texts("access_groups"),
        free_quota=_free_quota(info.section("free_quota")) if "free_quota" in info else None,
        priority=info.number("priority", 0.5, low=0, high=1),
        proxies=info.texts("proxies"),
        proxy_interval_s=info.number("proxy_interval_s", 60.0, low=1),
        base_model=base_model,
        params={word: params.plain(word, None) for word in params.keys if word in _PASSED_ON},
    )


def _free_quota(section: Section) -> FreeQuota:
    limits = {limit: section.integer(limit, 0, low=0) for limit in LIMITS}
    zone = section.text("reset", "UTC")
    if zone not in available_timezones():
        section.mistake("reset", "expected a time zone, as in America/Los_Angeles")
    return FreeQuota(**limits, reset=zone)

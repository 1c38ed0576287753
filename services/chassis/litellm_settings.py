"""What Lumni makes of each of LiteLLM's settings: takes it, ignores it and says why, or refuses it with what to do.

A setting is refused only where it guards money, limits or auth, or decides who is called: nobody should believe in a
guard that is not there. One that is not known here is refused when its name says that it may be such a guard.
"""

import re
from collections.abc import Mapping
from typing import Any

from services.chassis import prices, unit_prices
from services.chassis.yaml import Section

# litellm_params that the executor hands to LiteLLM as they are, after resolving references.
PASSED_ON = frozenset(
    """
    api_version organization extra_headers drop_params additional_drop_params
    temperature max_tokens top_p seed stop presence_penalty frequency_penalty reasoning_effort thinking
    aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_profile_name aws_role_name
    aws_session_name aws_web_identity_token aws_bedrock_runtime_endpoint
    vertex_project vertex_location vertex_credentials
    azure_ad_token tenant_id client_id client_secret azure_scope
    project_id num_ctx keep_alive
    """.split()
)
_CALLBACKS = frozenset(
    "success_callback failure_callback callbacks service_callback service_callbacks".split()
)
# Flags of litellm_settings whose effect is fixed here: the value that says so, and why another one is ignored.
_FIXED: Mapping[str, tuple[bool, str]] = {
    "turn_off_message_logging": (True, "Lumni never logs messages"),
    "json_logs": (True, "logs are always JSON lines"),
    "set_verbose": (False, "LUMNI_LOG_LEVEL sets what is logged"),
    "cache": (False, "answers are not cached"),
    "modify_params": (False, "requests are sent as they are"),
    "redact_user_api_key_info": (True, "no key reaches a log"),
    "ssl_verify": (True, "certificates are always verified"),
}
TAKEN: Mapping[str, frozenset[str]] = {
    "": frozenset(
        "model_list router_settings litellm_settings general_settings environment_variables".split()
    ),
    "general_settings": frozenset(("master_key", "database_url")),
    "router_settings": frozenset(
        "routing_strategy num_retries timeout allowed_fails cooldown_time enable_pre_call_checks fallbacks "
        "context_window_fallbacks content_policy_fallbacks default_fallbacks model_group_alias".split()
    ),
    "litellm_settings": frozenset(
        "num_retries request_timeout fallbacks context_window_fallbacks content_policy_fallbacks default_fallbacks "
        "drop_params allowed_fails".split()
    )
    | _FIXED.keys()
    | _CALLBACKS,
    "litellm_params": PASSED_ON
    | prices.OVERRIDES
    | frozenset(
        "model api_key api_base base_url custom_llm_provider rpm tpm order weight max_parallel_requests timeout "
        "stream_timeout region_name max_retries num_retries cost_per_token base_model".split()
    ),
    # `metadata` is for the operator's own notes.
    "model_info": prices.OVERRIDES
    | frozenset(prices.WEB_SEARCH)
    | frozenset(
        "id mode base_model max_input_tokens max_output_tokens access_groups region free_quota proxies "
        "proxy_interval_s priority send_traceparent supported_endpoints metadata rpm tpm".split()
    ),
}
_REDIS = "Redis is named by REDIS_URL"
_POOL = "Lumni bounds its connections to the database itself"
_LEDGER = "the ledger writes every attempt, in batches of its own"
_ALERTS = "alerts are for Prometheus to send, from what /metrics shows"
_PROBES = "LUMNI_PROBE_S has idle deployments probed"
_PAGE = "there is no such page or function here"
_HEADERS = "no header of a caller reaches a provider"
_FAILURES = "retries and circuit breakers follow Lumni's own rules: docs/operating.md"
# Why a setting has no effect, by the words of that.
_IGNORED: Mapping[str, Mapping[str, str]] = {
    "": {
        _PAGE: "mcp_servers mcp_aliases vector_store_registry search_tools prompts finetune_settings files_settings "
        "assistant_settings callback_settings agent_list policies worker_config",
    },
    "general_settings": {
        _ALERTS: "alerting alerting_threshold alert_types alert_to_webhook_url alerting_args alert_type_config",
        _POOL: "database_connection_pool_limit database_connection_timeout database_connection_pool_timeout "
        "database_type database_args disable_prisma_schema_update",
        _LEDGER: "proxy_batch_write_at proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time "
        "use_redis_transaction_buffer disable_spend_logs disable_spend_updates disable_error_logs "
        "disable_reset_budget",
        "LUMNI_RETENTION_DAYS says how long usage is kept": "maximum_spend_logs_retention_period "
        "maximum_spend_logs_retention_interval maximum_spend_logs_cleanup_cron",
        "LUMNI_PROMPTS_KEY has prompts and answers kept": "store_prompts_in_spend_logs",
        "models are configured in this file alone": "store_model_in_db supported_db_objects",
        "LUMNI_KEY_STALE_S says how long known keys are good without the database": "allow_requests_on_db_unavailable "
        "user_api_key_cache_ttl",
        _PROBES: "background_health_checks health_check_interval health_check_details health_check_concurrency "
        "enable_health_check_routing health_check_staleness_threshold",
        _PAGE: "ui_access_mode ui_username disable_master_key_return disable_adding_master_key_hash_to_db "
        "pass_through_endpoints enable_public_model_hub docs_url user_mcp_management_mode",
        _HEADERS: "forward_client_headers_to_llm_api forward_openai_org_id forward_llm_provider_auth_headers",
        "tokens of prompt and answer count": "token_rate_limit_type",
        "LUMNI_CORS_ORIGINS names the origins whose pages may call": "allowed_origins",
        "bodies are bounded to 16 MiB": "max_request_size_mb max_response_size_mb",
        "keys are read from authorization and x-api-key": "litellm_key_header_name user_header_name "
        "user_header_mappings",
        _FAILURES: "disable_retry_on_max_parallel_request_limit_error",
    },
    "router_settings": {
        _REDIS: "redis_host redis_port redis_password redis_url redis_db redis_ssl cache_responses cache_kwargs "
        "caching_groups client_ttl",
        _FAILURES: "retry_after retry_policy model_group_retry_policy allowed_fails_policy disable_cooldowns "
        "max_fallbacks enable_weighted_failover",
        "the strategy is Lumni's own": "routing_strategy_args routing_groups",
        "a deployment's own stream_timeout is read": "stream_timeout",
        "LUMNI_LOG_LEVEL sets what is logged": "set_verbose debug_level",
        _ALERTS: "alerting_config",
        "access_groups say who may use a model": "tag_filtering_match_any",
    },
    "litellm_settings": {
        "answers are not cached": "cache_params default_in_memory_ttl default_redis_ttl "
        "default_redis_batch_cache_expiry enable_redis_auth_cache",
        "OTEL_* and PORTKEY_API_KEY say where spans go": "langfuse_default_tags s3_callback_params "
        "default_team_settings prometheus_initialize_budget_metrics prometheus_metrics_config otel callback_settings "
        "custom_prometheus_metadata_labels custom_prometheus_tags enable_end_user_cost_tracking_prometheus_only",
        "the metrics have a port of their own": "require_auth_for_metrics_endpoint",
        "costs are always counted": "disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only "
        "disable_token_counter include_cost_in_streaming_usage",
        "nothing is reported to LiteLLM": "telemetry",
        "model_info.send_traceparent says which deployments are sent it": "forward_traceparent_to_llm_provider",
        _PAGE: "public_model_groups public_model_groups_links enable_preview_features",
        "changes of keys are always recorded": "store_audit_logs",
    },
    "litellm_params": {
        "access_groups say who may use a model": "tags",
        "no address and no key is taken from a caller": "configurable_clientside_auth_params",
        _PAGE: "use_in_pass_through auto_router_config auto_router_default_model merge_reasoning_content_in_choices",
        "every stream reports its usage": "stream_options",
        "callers and plans bound an answer": "max_completion_tokens",
    },
    "model_info": {},
}
_PLANS = (
    "set rpm, tpm, parallel or budget_usd in the plans of lumni.yaml, or for each key, and remove it here"
)
_AUTH = "only keys of Lumni are let in; remove it and make keys with `lumni keys`"
_OUTSIDE = "Lumni does not inspect content; remove it and inspect before or behind Lumni"
_PER_DEPLOYMENT = "Lumni does not keep it; bound a deployment by rpm, tpm or max_parallel_requests instead"
_PRICED = "Lumni does not price by it; set input_cost_per_token and output_cost_per_token instead"
_GROUPS = "plans reach models by model_info.access_groups; name one there and remove it here"
# What to do instead of a setting that guards something here too, or that cannot hold.
_REFUSED: Mapping[str, Mapping[str, str]] = {
    "": {
        _OUTSIDE: "guardrails",
        "one file holds all: put what the others contain here and remove it": "include",
        "write what it holds into the litellm_params of each deployment and remove it": "credential_list",
    },
    "general_settings": {
        _PLANS: "max_parallel_requests global_max_parallel_requests",
        _AUTH: "custom_auth custom_auth_settings custom_auth_run_common_checks enable_jwt_auth litellm_jwtauth "
        "enable_oauth2_auth enable_oauth2_proxy_auth oauth2_config_mappings custom_sso custom_ui_sso_sign_in_handler "
        "allowed_ips allowed_routes admin_only_routes public_routes role_permissions service_account_settings "
        "enforced_params reject_clientside_metadata_tags",
        "put the keys into the executor's environment and remove it here": "key_management_system "
        "key_management_settings",
        "plans say what a new key may do; remove it here": "custom_key_generate default_team_disabled "
        "custom_key_update",
    },
    "router_settings": {
        _PER_DEPLOYMENT: "provider_budget_config default_max_parallel_requests optional_pre_call_checks",
        _GROUPS: "enable_tag_filtering",
    },
    "litellm_settings": {
        _PLANS: "max_budget budget_duration max_user_budget max_internal_user_budget internal_user_budget_duration "
        "max_end_user_budget max_end_user_budget_id default_internal_user_params default_team_params "
        "upperbound_key_generate_params default_key_generate_params max_parallel_requests priority_reservation "
        "tag_budget_config",
        "set the prices in model_info and remove it": "cost_discount_config cost_margin_config",
        _OUTSIDE: "guardrails",
    },
    "litellm_params": {
        _PER_DEPLOYMENT: "max_budget budget_duration",
        _PRICED: "input_cost_per_second output_cost_per_second input_cost_per_character output_cost_per_character "
        "tiered_pricing",
        "Lumni calls providers, so this one would be called and billed; remove it": "mock_response",
        "write api_key and what else it holds here instead": "litellm_credential_name",
        _OUTSIDE: "guardrails",
    },
    "model_info": {_GROUPS: "team_id team_public_model_name"},
}
_WHY = {
    part: {key: why for why, keys in table.items() for key in keys.split()}
    for part, table in _IGNORED.items()
}
_FIX = {
    part: {key: fix for fix, keys in table.items() for key in keys.split()}
    for part, table in _REFUSED.items()
}
_GUARDS = re.compile(r"budget|cost|price|spend|key|token|auth|limit|rpm|tpm|quota|block|allow|guard")
# Of optional_pre_call_checks: what keeps related requests together, and guards nothing.
_AFFINITY = frozenset(
    "prompt_caching responses_api_deployment_check deployment_affinity session_affinity "
    "encrypted_content_affinity forward_client_headers_by_model_group".split()
)


def judge(section: Section, part: str) -> None:
    """Note what is ignored and what is refused in a part of the file.

    Args:
        section: The part.
        part: Its name: a key of `TAKEN`.

    """
    for key in section.keys:
        section.pass_over(key)
        if key in TAKEN[part] or (part == "model_info" and key.startswith("supports_")):
            continue
        value = section.plain(key, None)
        off = value is None or value is False or value in ([], {}, "")
        if (why := _WHY[part].get(key)) is not None:
            if not off:
                section.warn(key, f"{why}; ignored")
        elif off:
            section.warn(key, "Lumni does not know it, and it is off; ignored")
        elif _only_affinity(key, value):
            section.warn(key, "Lumni keeps no request on a deployment; ignored")
        elif (fix := _FIX[part].get(key)) is not None:
            section.mistake(key, fix)
        elif "_cost" in key:
            section.mistake(key, _PRICED)
        elif part != "model_info" and _GUARDS.search(key):
            section.mistake(key, "Lumni does not know it, and it may touch money, limits or auth; remove it")
        else:
            section.warn(key, "Lumni does not know it; ignored")


def check_units(section: Section) -> None:
    """Note the prices of pictures, characters and seconds where a deployment is paid by tokens alone."""
    for key in section.keys:
        if key in unit_prices.OVERRIDES and section.plain(key, None) is not None:
            section.mistake(key, _PRICED)


def check_fixed(router: Section, litellm: Section) -> None:
    """Note the settings whose effect here is always the same, where the file says otherwise."""
    if not router.flag("enable_pre_call_checks", default=True):
        router.warn("enable_pre_call_checks", "the context window is always checked before a call; ignored")
    for key, (fixed, why) in _FIXED.items():
        if litellm.flag(key, default=fixed) is not fixed:
            litellm.warn(key, f"{why}; ignored")
    for key in sorted(_CALLBACKS):
        if litellm.plain(key, None):
            litellm.warn(
                key, "ignored so far: PORTKEY_API_KEY sends spans to Portkey, OTEL_* sends them elsewhere"
            )


def _only_affinity(key: str, value: Any) -> bool:
    return (
        key == "optional_pre_call_checks"
        and isinstance(value, list)
        and _AFFINITY.issuperset(map(str, value))
    )

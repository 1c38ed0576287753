"""LiteLLM's process-wide settings: everything but its translations is off, and every connection it makes is ours.

Its retries, fallbacks, caches, callbacks, tool gateway and telemetry would act behind the executor's back.
"""

import logging
import sys
from types import ModuleType
from typing import Any, cast

import httpx
import litellm
from litellm.caching.llm_caching_handler import LLMClientCache
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler


def confine(transport: httpx.AsyncBaseTransport) -> None:
    """Switch off what LiteLLM does besides translating, and send all its requests over `transport`."""
    gateway = ModuleType("litellm.responses.mcp.litellm_proxy_mcp_handler")
    vars(gateway)["LiteLLM_Proxy_MCP_Handler"] = _NoToolGateway
    sys.modules[gateway.__name__] = gateway
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    # A tokenizer that is not here would be fetched from its hub, with the event loop waiting for every attempt.
    litellm.disable_hf_tokenizer_download = True
    litellm.cache = None
    litellm.num_retries = 0
    litellm.callbacks = []
    litellm.success_callback = []
    litellm.failure_callback = []
    litellm._async_success_callback = []  # noqa: SLF001  (its only name)
    litellm._async_failure_callback = []  # noqa: SLF001  (its only name)
    # Its tokenizer's text as objects, 13 MiB, which LiteLLM itself never looks at once they are text again.
    vars(litellm.utils).pop("json_data", None)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger(name).propagate = False
    handler = AsyncHTTPHandler(transport=transport, follow_redirects=False)
    litellm.in_memory_llm_clients_cache = _OurClients(handler)
    litellm.module_level_aclient = handler
    # With this one LiteLLM would fetch what a request points at, blocking the event loop meanwhile.
    litellm.module_level_client = cast("Any", _NoClient())
    litellm.aclient_session = httpx.AsyncClient(transport=transport, follow_redirects=False)


class _OurClients(LLMClientCache):  # type: ignore[misc]  # LiteLLM has no types for us
    """Gives LiteLLM our connections wherever it looks for its own, which it would close while they are in use."""

    def __init__(self, handler: AsyncHTTPHandler) -> None:
        super().__init__()
        self._handler = handler

    def get_cache(self, key: str, **kwargs: Any) -> Any:
        if key.startswith("async_httpx_client"):
            return self._handler
        return super().get_cache(key, **kwargs)


class _NoToolGateway:
    """In the place of LiteLLM's handler of its proxy's tools.

    No caller's `tools` may make this process call a tool server, and the handler's package is not installed.
    """

    @staticmethod
    def should_use_litellm_mcp_gateway(tools: object) -> bool:  # noqa: ARG004  (whatever they are)
        """Never."""
        return False


class _NoClient:
    """In the place of LiteLLM's blocking client."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"LiteLLM may not {name} for itself")

"""One spelling for each model, which providers, leaderboards and LiteLLM's map write differently."""

import re

# Versions that only their date distinguishes from a model that scores differently.
_DATED = {
    "claude-3-5-sonnet-20240620": "claude-3.5-sonnet-20240620",
    "claude-3-5-sonnet-20241022": "claude-3.5-sonnet",
    "o1-preview": "o1-preview",
    "qwq-32b-preview": "qwq-32b-preview",
    "gemini-1.5-flash-002": "gemini-1.5-flash",
    "gemini-1.5-flash-002-0924": "gemini-1.5-flash",
    "gemini-1.5-pro-002": "gemini-1.5-pro",
    "gpt-3.5-turbo-0301": "gpt-3.5-turbo-0301",
    "gpt-3.5-turbo-0613": "gpt-3.5-turbo-0613",
    "gpt-4-0125-preview": "gpt-4-turbo-0125",
    "gpt-4-1106-preview": "gpt-4-turbo-1106",
    "gpt-4-0314": "gpt-4-0314",
    "gpt-4o-2024-05-13": "gpt-4o-2024-05-13",
    "gpt-4o-2024-11-20": "gpt-4o-2024-11-20",
    "deepseek-r1-0528": "deepseek-r1-0528",
    "deepseek-v3-0324": "deepseek-v3-0324",
    "kimi-k2-0905": "kimi-k2-0905",
    "kimi-k2-instruct-0905": "kimi-k2-0905",
    "gemini-1.5-pro-001": "gemini-1.5-pro-001",
    "gemini-1.5-flash-001": "gemini-1.5-flash-001",
}
# Names that no rule brings together.
_SAME = {
    "amazon-nova-pro": "nova-pro",
    "amazon-nova-premier": "nova-premier",
    "amazon-nova-lite": "nova-lite",
    "amazon-nova-micro": "nova-micro",
    "claude-opus-4.0": "claude-opus-4",
    "claude-4-opus": "claude-opus-4",
    "claude-4-sonnet": "claude-sonnet-4",
    "claude-sonnet-4.0": "claude-sonnet-4",
    "codestral-2405": "codestral-22b",
    "codestral-22b-v0.1": "codestral-22b",
    "codestral-25.01": "codestral-2501",
    "command-r-plus-04-2024": "command-r-plus",
    "command-r+-08-24": "command-r-plus-08-2024",
    "command-r-08-24": "command-r-08-2024",
    "command-a-03-2025": "command-a",
    "deepseek-chat-v3": "deepseek-v3",
    "deepseek-chat-v2.5": "deepseek-v2.5",
    "deepseek-chat-v3-0324": "deepseek-v3-0324",
    "deepseek-chat-v3.1": "deepseek-v3.1",
    "deepseek-v3p1": "deepseek-v3.1",
    "devstral-2": "devstral-2512",
    "devstral-medium": "devstral-medium-2507",
    "glm-4p5": "glm-4.5",
    "glm-4p6": "glm-4.6",
    "llama-3-70b-8192": "llama-3-70b",
    "llama-3-8b-8192": "llama-3-8b",
    "gpt-3.5-turbo-0125": "gpt-3.5-turbo",
    "gpt-35-turbo": "gpt-3.5-turbo",
    "gpt-4-0613": "gpt-4",
    "gemini-2.5-pro-06-05": "gemini-2.5-pro",
    "devstral": "devstral-2512",
    "nova-lite-v1": "nova-lite",
    "nova-micro-v1": "nova-micro",
    "nova-premier-v1": "nova-premier",
    "nova-pro-v1": "nova-pro",
    "llama-3.3-nemotron-super-49b-v1": "llama-3.3-nemotron-super-49b",
    "llama-4-maverick-17b-16e": "llama-4-maverick",
    "mistral-large-3-675b": "mistral-large-2512",
    "ministral-8b": "ministral-8b-2512",
    "llama-3.1-nemotron-ultra-253b-v1": "llama-3.1-nemotron-ultra-253b",
    "nemotron-ultra-253b": "llama-3.1-nemotron-ultra-253b",
    "magistral-medium-2506": "magistral-medium",
    "mistral-large-2-2407": "mistral-large-2407",
    "mistral-large-2411": "mistral-large-2411",
    "mistral-large-3": "mistral-large-2512",
    "mistral-medium-3": "mistral-medium-2505",
    "mistral-medium-3.5": "mistral-medium-2604",
    "mistral-small-24b-2501": "mistral-small-2501",
    "mistral-small-3.1": "mistral-small-2503",
    "mistral-small-3.1-24b-2503": "mistral-small-2503",
    "mistral-small-3.2-24b-2506": "mistral-small-2506",
    "mistral-nemo-2407": "mistral-nemo",
    "open-mistral-nemo": "mistral-nemo",
    "open-mistral-nemo-2407": "mistral-nemo",
    "mixtral-8x7b-v0.1": "mixtral-8x7b",
    "open-mixtral-8x7b": "mixtral-8x7b",
    "open-mixtral-8x22b": "mixtral-8x22b",
    "mixtral-8x22b-v0.1": "mixtral-8x22b",
    "open-mistral-7b": "mistral-7b",
    "mistral-7b-v0.1": "mistral-7b-v0.1",
    "qwen-2.5-14b": "qwen2.5-14b",
    "qwen-2.5-32b": "qwen2.5-32b",
    "qwen-2.5-72b": "qwen2.5-72b",
    "qwen-2.5-7b": "qwen2.5-7b",
    "qwen-2.5-coder-32b": "qwen2.5-coder-32b",
    "qwen-2.5-coder-7b": "qwen2.5-coder-7b",
    "qwen2p5-72b": "qwen2.5-72b",
    "qwen2p5-coder-32b": "qwen2.5-coder-32b",
    "qwen3-235b": "qwen3-235b-a22b",
    "qwen3-235b-a22b-2507-tput": "qwen3-235b-a22b-2507",
    "qwen3-235b-a22b-instruct-2507": "qwen3-235b-a22b-2507",
    "qwen3.5-397b": "qwen3.5-397b-a17b",
    "llama-4-maverick-17b-128e": "llama-4-maverick",
    "llama-4-maverick-17b": "llama-4-maverick",
    "llama-4-scout-17b-16e": "llama-4-scout",
    "llama-4-scout-17b": "llama-4-scout",
    "phi-3.5-moe": "phi-3.5-moe",
    "grok-4-0709": "grok-4",
    "o1-mini-whole": "o1-mini",
}
_PROVIDER_PREFIX = re.compile(
    r"^(?:(?:us|eu|apac|au|jp|ca|sa|global|us-gov)\.(?=[a-z0-9]+\.)|(?:anthropic|meta|mistral|amazon|cohere|ai21|"
    r"deepseek|openai|qwen|moonshot|moonshotai|minimax|zai|google|nvidia)\.)+"
)
_HOST_PREFIX = re.compile(r"^(?:databricks|fw|nvidia|cohere(?=-command))-(?:meta-(?=llama))?")
_DATE = re.compile(r"-(?:20\d{2}-?[01]\d-?[0-3]\d|20\d{2}-[01]\d|[01]\d-20\d{2})(?=-|$)")
_REVISION = re.compile(r"(?:-v\d+)?:\d+(?::\d+k)?$|@[\w-]+$|-v\d:\d$")
_QUANTIZED = re.compile(
    r"-(?:turbo-?fp8|fp8|fp16|bf16|awq|gguf|q\d[\w]*|int4|nvfp4|hf|tput|turbo-free|free|maas)(?=-|$)|"
    r"(?<=-instruct)-turbo$"
)
_DECORATION = re.compile(r"-(?:instruct|it|latest|preview|exp|beta|chat-hf)(?=-|$)")
# 4-5 is a version, 3-27b is a version and a size.
_DASHED = re.compile(r"(?<![\d.a-z])(\d)-(\d{1,2})(?![\dbxk.])")
_P_VERSION = re.compile(r"(?<=\d)p(?=\d)")


def canonical(name: str) -> str:
    """The one spelling of a model's name.

    Providers, regions, dates, quantizations and words such as `instruct` are taken off, and versions are written
    with a dot: `us.anthropic.claude-3-7-sonnet-20250219-v1:0` is `claude-3.7-sonnet`. A date stays where models of
    different dates score differently.
    """
    text = name.strip().lower().rsplit("/", 1)[-1]
    text = re.sub(r"[\s_]+", "-", text.replace("(", "").replace(")", ""))
    text = _HOST_PREFIX.sub("", _PROVIDER_PREFIX.sub("", text))
    text = _REVISION.sub("", text).replace(":", "-")
    text = _QUANTIZED.sub("", text)
    if (dated := _DATED.get(text) or _DATED.get(text.replace(".", "-"))) is not None:
        return dated
    text = _DATE.sub("", text)
    text = re.sub(r"^(?:meta-)?llama-?v?(?=\d)", "llama-", text)
    text = _DASHED.sub(r"\1.\2", text)
    text = _P_VERSION.sub(".", text)
    text = _SAME.get(text, text)
    if not text.endswith("-base"):
        text = _DECORATION.sub("", text)
    return _SAME.get(text, text) or name.strip().lower()

"""Extract prices, limits and abilities from the pinned LiteLLM's map into services/chassis/data/prices.json.

Run after every change of the pinned version: .venv/bin/python scripts/prices.py
"""

import json
import os
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Before LiteLLM is imported, or it reaches for its map over the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

from services.chassis.money import nano
from services.chassis.prices import DATA, FIELDS, PER_REQUEST, capability, family, nano_per_mtok

MODES = {"chat", "responses", "completion", "embedding", "moderation"}
TIERS = {"": "", "_priority": "priority", "_flex": "flex"}
# Models that search the web for every request, for a fee beside their tokens.
SEARCHES = re.compile(r"search-preview|search-api|^perplexity/sonar")
# Models that search as often as they like: no bound of one request is known, so they have no price here.
RESEARCHES = "deep-research"
FLAGS = (
    "supports_vision",
    "supports_function_calling",
    "supports_parallel_function_calling",
    "supports_response_schema",
    "supports_reasoning",
    "supports_prompt_caching",
    "supports_audio_input",
    "supports_audio_output",
    "supports_pdf_input",
    "supports_web_search",
)


def rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The standard rates first, then each service tier and each prompt length at which they change."""
    thresholds = {0} | {
        int(found[1]) * 1000
        for key in entry
        if (found := re.search(r"_above_(\d+)k_tokens(?:_priority|_flex)?$", key))
    }
    found_rows: list[dict[str, Any]] = []
    for suffix, tier in TIERS.items():
        for start in sorted(thresholds):
            above = f"_above_{start // 1000}k_tokens" if start else ""
            rates = {
                name: nano_per_mtok(entry[key])
                for name, word in FIELDS.items()
                if entry.get(key := word + above + suffix) is not None
            }
            if rates or not (tier or start):
                row: dict[str, Any] = {"rates": rates}
                if start or tier:
                    # A row names only what changes in the map; what it leaves out stays as in the standard row.
                    row["rates"] = {**found_rows[0]["rates"], **rates}
                if tier:
                    row["tier"] = tier
                if start:
                    # "above 200k" begins with the token after it.
                    row["from"] = start + 1
                found_rows.append(row)
    return found_rows


def fee(name: str, entry: dict[str, Any]) -> int:
    """What a request costs beside its tokens at most, in nano-USD."""
    searches = entry.get("search_context_cost_per_query") or {}
    usd = entry.get(PER_REQUEST) or (max(searches.values(), default=0) if SEARCHES.search(name) else 0)
    return nano(str(usd))


# Parameters that change what is said, so that a request with one goes only to models that take it: our word for each.
PARAMETERS = {"n": "several_choices", "logprobs": "logprobs"}


def parameters(name: str, entry: dict[str, Any]) -> set[str]:
    """Which of these a model takes; all where LiteLLM knows nothing of its provider."""
    provider = family(entry["litellm_provider"])
    model = name.removeprefix(f"{provider}/")
    supported = litellm.get_supported_openai_params(model, custom_llm_provider=provider)
    return {word for name, word in PARAMETERS.items() if supported is None or name in supported}


def main() -> None:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    source = json.loads(
        (Path(spec.origin).parent / "model_prices_and_context_window_backup.json").read_text()
    )
    models = {}
    for name, entry in sorted(source.items()):
        if entry.get("mode") not in MODES or "litellm_provider" not in entry:
            continue
        if RESEARCHES in name:
            continue
        if entry.get("input_cost_per_token") is None and entry.get("output_cost_per_token") is None:
            continue
        models[name] = {
            "provider": entry["litellm_provider"],
            "mode": entry["mode"],
            "context": int(entry.get("max_input_tokens") or entry.get("max_tokens") or 0),
            "output": int(entry.get("max_output_tokens") or 0),
            "can": sorted({capability(flag) for flag in FLAGS if entry.get(flag)} | parameters(name, entry)),
            "rows": rows(entry),
        }
        if request := fee(name, entry):
            models[name]["request"] = request
    lines = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}" for name, entry in models.items()
    )
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text(
        f'{{"litellm":"{version("litellm")}","unit":"nano-USD per million tokens","models":{{\n{lines}\n}}}}\n'
    )
    print(f"{len(models)} models, {DATA.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()

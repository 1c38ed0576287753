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

from services.chassis.money import nano, nano_per_million
from services.chassis.prices import DATA, FIELDS, PER_REQUEST, capability, family

MODES = {"chat", "responses", "completion", "embedding", "moderation"}
# What may be billed by another unit than tokens.
IMAGES, SPEECH, TRANSCRIPTION = "image_generation", "audio_speech", "audio_transcription"
UNIT_MODES = {IMAGES, SPEECH, TRANSCRIPTION}
# A picture of one quality and size, as in hd/1024-x-1792/dall-e-3, perhaps after the provider's name.
OF_SIZE = re.compile(
    r"^(?P<before>azure/)?(?:(?P<quality>\w+)/)?(?P<width>\d+)-x-(?P<height>\d+)/(?P<model>[^/]+)$"
)
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
                name: nano_per_million(entry[key])
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


def units(mode: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What is billed by another measure than tokens."""
    if mode == IMAGES:
        usd = entry.get("output_cost_per_image") or entry.get("input_cost_per_image")
        return {"image": nano(str(round(usd, 9)))} if usd else {}
    if mode == SPEECH:
        words = {"character": "input_cost_per_character", "second": "output_cost_per_second"}
    else:
        words = {"second": "input_cost_per_second"}
    return {name: nano_per_million(entry[word]) for name, word in words.items() if entry.get(word)}


def of_sizes(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Models that the map prices only by the quality and size of a picture, each with its provider and prices.

    Where it prices their tokens too, those are what is billed.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, entry in source.items():
        if entry.get("mode") != IMAGES or not (part := OF_SIZE.match(name)):
            continue
        base = f"{part['before'] or ''}{part['model']}"
        usd = entry.get("input_cost_per_image")
        if usd is None:
            usd = int(part["width"]) * int(part["height"]) * (entry.get("input_cost_per_pixel") or 0)
        known = source.get(base) or source.get(f"{entry['litellm_provider']}/{base}") or {}
        if not usd or "input_cost_per_token" in known or units(IMAGES, known):
            continue
        model = found.setdefault(base, {"litellm_provider": entry["litellm_provider"], "images": {}})
        size = f"{part['quality'] or ''}/{part['width']}x{part['height']}"
        model["images"][size] = nano(str(round(usd, 5)))
    return found


def by_unit(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The models that draw, speak and listen, as far as the map knows what they cost."""
    models: dict[str, dict[str, Any]] = {}
    sized = of_sizes(source)
    every = {**{name: {**one, "mode": IMAGES} for name, one in sized.items()}, **source}
    for name, entry in every.items():
        mode = entry.get("mode")
        if mode not in UNIT_MODES or "litellm_provider" not in entry or OF_SIZE.match(name):
            continue
        measured = units(mode, entry)
        if images := sized.get(name, {}).get("images"):
            measured["images"] = images
        found = rows(entry)
        if not measured and not any(row["rates"] for row in found):
            continue
        models[name] = {
            "provider": entry["litellm_provider"],
            "mode": mode,
            "context": int(entry.get("max_input_tokens") or 0),
            "output": int(entry.get("max_output_tokens") or 0),
            "can": [],
            "rows": found,
            **({"units": measured} if measured else {}),
        }
    return models


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
    models |= by_unit(source)
    lines = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}"
        for name, entry in sorted(models.items())
    )
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text(
        f'{{"litellm":"{version("litellm")}","unit":"nano-USD per million tokens","models":{{\n{lines}\n}}}}\n'
    )
    print(f"{len(models)} models, {DATA.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()

"""Make services/selector/models/data/catalog.json from published scores and LiteLLM's map of prices and contexts.

    .venv/bin/python -m scripts.catalog --sources ../score-sources --date 2026-11-22

The scores come from clones of public repositories (`scripts/score_sources.py`; what is missing is cloned). Models and
benchmarks get one spelling each; what is not a percentage or not better when higher is dropped; of a cell with several
sources the middle one of those who measure and make no model counts, else the middle one of all; cells whose sources
disagree are listed. Nothing here runs in a service.
"""

import argparse
import json
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from scripts import score_sources
from scripts.score_sources import Reported
from services.chassis.money import nano_per_million
from services.chassis.prices import capability
from services.selector.models import imputation
from services.selector.models.benchmarks import WEIGHTS
from services.selector.models.catalog import DATA
from services.selector.models.model_names import canonical

# Benchmarks by every name the sources give them. A benchmark that is not here is dropped: it is an index, a rating,
# an error rate, a variant that does not compare, or published for too few models to say anything.
BENCHMARKS = {
    "MMLU": ["mmlu"],
    "MMLU-Pro": ["mmlu-pro"],
    "MMLU-Redux": ["mmlu-redux", "mmlu-redux-2.0"],
    "GPQA Diamond": ["gpqa", "gpqa diamond"],
    "HLE": ["hle (humanity's last exam)", "humanity's-last-exam", "humanity's last exam", "hle"],
    "SimpleQA": ["simpleqa"],
    "TriviaQA": ["triviaqa"],
    "TruthfulQA": ["truthfulqa"],
    "HumanEval": ["humaneval"],
    "HumanEval+": ["humaneval+", "humaneval-plus"],
    "MBPP": ["mbpp"],
    "MultiPL-E": ["multipl-e"],
    "BigCodeBench": ["bigcodebench"],
    "LiveCodeBench": ["livecodebench", "livecodebench-v5", "livecodebench-v6"],
    "SWE-bench Verified": ["swe-bench verified", "swe-bench-verified"],
    "SWE-bench Pro": ["swe-bench pro", "swe bench pro"],
    "SWE-Atlas QnA": ["swe-atlas codebase qna"],
    "Aider Polyglot": ["aider polyglot", "aider polyglot (pass_rate_2)", "aider-polyglot"],
    "Aider Edit": ["aider code editing (pass_rate_2)"],
    "SciCode": ["scicode"],
    "Terminal-Bench": ["terminal-bench", "terminal-bench 1.0"],
    "Terminal-Bench 2.0": ["terminal-bench 2.0", "terminal bench 2.0"],
    "Terminal-Bench Hard": ["terminal-bench hard"],
    "GSM8K": ["gsm8k", "gsm8k-chat", "gsm-8k-(cot)"],
    "MATH": ["math", "math-(cot)"],
    "MATH-500": ["math-500"],
    "AIME 2024": ["aime 2024", "aime-2024"],
    "AIME 2025": ["aime 2025", "aime-2025"],
    "HMMT Feb 2025": ["hmmt feb 2025", "hmmt-2025", "hmmt25"],
    "HMMT Nov 2025": ["hmmt nov 2025"],
    "BRUMO 2025": ["brumo 2025"],
    "SMT 2025": ["smt 2025"],
    "CMIMC 2025": ["cmimc 2025"],
    "FrontierMath": ["frontiermath"],
    "MGSM": ["mgsm", "multilingual-mgsm-(cot)"],
    "MMMLU": ["mmmlu"],
    "Global-MMLU-Lite": ["global-mmlu-lite"],
    "IFEval": ["ifeval"],
    "IFBench": ["ifbench"],
    "Multi-IF": ["multi-if"],
    "Arena-Hard": ["arena-hard", "arena-hard auto"],
    "LiveBench": ["livebench"],
    "DROP": ["drop"],
    "BIG-Bench Hard": ["big-bench-hard", "bbh"],
    "HellaSwag": ["hellaswag"],
    "WinoGrande": ["winogrande"],
    "ARC-C": ["arc-c"],
    "PIQA": ["piqa"],
    "BoolQ": ["boolq"],
    "ARC-AGI-1": ["arc-agi-1"],
    "ARC-AGI-2": ["arc-agi-2", "arc-agi-v2"],
    "MMMU": ["mmmu", "mmmu-(val)", "mmmu-(validation)", "mmmuval"],
    "MMMU-Pro": ["mmmu-pro"],
    "MathVista": ["mathvista", "mathvista-mini"],
    "DocVQA": ["docvqa"],
    "ChartQA": ["chartqa"],
    "AI2D": ["ai2d"],
    "TextVQA": ["textvqa"],
    "TAU-bench Retail": ["tau-bench-retail", "tau-bench retail"],
    "TAU-bench Airline": ["tau-bench-airline"],
    "TAU2 Retail": ["tau2-retail"],
    "TAU2 Airline": ["tau2-airline"],
    "TAU2 Telecom": ["tau2-telecom", "tau-bench telecom"],
    "BFCL": ["bfcl", "bfcl-v3", "bfcl-v2"],
    "BrowseComp": ["browsecomp"],
    "OSWorld": ["osworld"],
    "MRCR": ["mrcr", "mrcr v2", "mrcrv2", "mrcr-v2", "openai-mrcr:-2-needle-128k"],
    "AA Long Context Reasoning": ["aa long context reasoning", "long context reasoning"],
}
BY_NAME = {alias: name for name, aliases in BENCHMARKS.items() for alias in aliases}
# Scores that the sources lack, of models that Lumni itself ships with.
ADDED = tuple(
    Reported(
        "smollm2-135m",
        "huggingface",
        benchmark,
        percent,
        "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        "2024-10-31",
        "2024-10-31",
    )
    for benchmark, percent in (
        ("IFEval", 29.9), ("HellaSwag", 40.9), ("MMLU", 29.3), ("BBH", 28.2), ("GSM8K", 1.4), ("PIQA", 66.3),
    )
)  # fmt: skip
# Cells of one model and benchmark further apart than this, in percent, are reported.
CONFLICT = 5.0

# An effort in the name is a setting of one model: the full one counts as the model, the reduced ones do not.
FULL_EFFORT = re.compile(
    r"-(?:high|32k-thinking-tokens|32k-thinking|24k-think|32k-think|default-think|default|reasoner)$"
)
REDUCED = re.compile(
    r"-(?:low|medium|no-think(?:ing)?|diff|udiff|whole|quality|chat|prev|litert|0|k-m)$|\+-|,|-alpha$|-0-32k$"
)
KEEP = {
    "mistral-medium",
    "magistral-medium",
    "devstral-medium",
    "yi-coder-9b-chat",
    "qwen1.5-110b-chat",
    "gpt-5-chat",
}

# Whose list price is a model's own; anybody else only hosts it. First come, first served.
HOUSES = (
    "openai", "anthropic", "gemini", "mistral", "deepseek", "xai", "cohere_chat", "dashscope", "moonshot", "zai",
    "minimax", "perplexity", "ai21", "amazon_nova", "meta_llama", "meta", "codestral", "inception", "tencent",
    "xiaomi_mimo",
)  # fmt: skip
HOSTS = (
    "groq", "cerebras", "together_ai", "fireworks_ai", "deepinfra", "openrouter", "azure", "azure_ai", "bedrock",
    "bedrock_converse", "vertex_ai", "vertex_ai-language-models", "vertex_ai-anthropic_models",
    "vertex_ai-mistral_models", "vertex_ai-llama_models", "vertex_ai-deepseek_models", "vertex_ai-qwen_models",
    "vertex_ai-openai_models", "vertex_ai-ai21_models", "sambanova", "nebius", "novita", "hyperbolic", "lambda_ai",
    "nscale", "databricks", "watsonx", "scaleway", "ovhcloud", "github_copilot", "replicate", "vercel_ai_gateway",
)  # fmt: skip
NOT_A_CHAT_MODEL = re.compile(
    r"^ft:|guard|audio|tts|realtime|live|image|lyria|robotics|embed|rerank|whisper|transcri|ocr|moderation|search|"
    r"computer-use|container|deep-research|learnlm|aqa|veo|imagen|video|compound|multi-agent|experimental|beta|"
    r"cyber|daybreak|rosalind|fim|base$|omni|customtools|safeguard|vision-preview|vibe-cli|non-reasoning|gv2|"
    r"commitment|month|^\d|chat-latest|^(?:chat|flash|auto|default|small|large|medium)$"
)
ORGANIZATIONS = {
    "gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "chatgpt": "openai", "codex": "openai",
    "claude": "anthropic", "gemini": "google", "gemma": "google", "medgemma": "google", "llama": "meta",
    "muse": "meta", "mistral": "mistral", "ministral": "mistral", "mixtral": "mistral", "codestral": "mistral",
    "devstral": "mistral", "magistral": "mistral", "pixtral": "mistral", "voxtral": "mistral", "leanstral": "mistral",
    "deepseek": "deepseek", "grok": "xai", "qwen": "alibaba", "qwen2": "alibaba", "qwen3": "alibaba",
    "qwen1.5": "alibaba", "qwq": "alibaba", "qvq": "alibaba", "tongyi": "alibaba", "command": "cohere",
    "c4ai": "cohere", "aya": "cohere", "kimi": "moonshot", "moonshot": "moonshot", "glm": "zhipu",
    "chatglm": "zhipu", "minimax": "minimax", "nova": "amazon", "titan": "amazon", "phi": "microsoft",
    "wizardlm": "microsoft", "mai": "microsoft", "sonar": "perplexity", "r1": "perplexity", "jamba": "ai21",
    "j2": "ai21", "granite": "ibm", "nemotron": "nvidia", "nvidia": "nvidia", "yi": "01-ai", "dbrx": "databricks",
    "hermes": "nousresearch", "ernie": "baidu", "hunyuan": "tencent", "hy3": "tencent", "mimo": "xiaomi",
    "step": "stepfun", "seed": "bytedance", "doubao": "bytedance", "olmo": "allenai", "falcon3": "tii",
    "exaone": "lg", "lfm2.5": "liquid", "mercury": "inception", "fugu": "sakana", "internlm3": "shanghai-ai-lab",
    "reka": "reka", "solar": "upstage", "palmyra": "writer", "arctic": "snowflake", "ling": "inclusionai",
}  # fmt: skip
CANONICAL_ORGANIZATIONS = {
    "qwen": "alibaba", "moonshotai": "moonshot", "moonshot ai": "moonshot", "zai-org": "zhipu", "zhipuai": "zhipu",
    "zhipu ai": "zhipu", "lg ai research": "lg", "allen ai": "allenai", "liquid ai": "liquid",
    "shanghai ai lab": "shanghai-ai-lab",
}  # fmt: skip
FLAGS = (
    "supports_vision",
    "supports_function_calling",
    "supports_response_schema",
    "supports_reasoning",
    "supports_audio_input",
    "supports_pdf_input",
)


@dataclass
class Model:
    """What is gathered of one model."""

    spellings: set[str] = field(default_factory=set)
    organizations: Counter[str] = field(default_factory=Counter)
    listings: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    cells: dict[str, list[Reported]] = field(default_factory=lambda: defaultdict(list))


def gathered(reported: Iterable[Reported]) -> tuple[dict[str, Model], Counter[str], Counter[str]]:
    models: dict[str, Model] = defaultdict(Model)
    dropped: Counter[str] = Counter()
    reduced: Counter[str] = Counter()
    for one in reported:
        benchmark = BY_NAME.get(one.benchmark.lower().replace("\u2019", "'"))
        if benchmark is None or not 0 <= one.percent <= 100:
            dropped[one.benchmark] += 1
            continue
        name = FULL_EFFORT.sub("", canonical(one.model))
        if name not in KEEP and REDUCED.search(name):
            reduced[one.model] += 1
            continue
        model = models[name]
        model.spellings.add(one.model)
        if one.organization:
            model.organizations[one.organization] += 1
        model.cells[benchmark].append(one)
    return models, dropped, reduced


def litellm_map() -> dict[str, Any]:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
    found: dict[str, Any] = json.loads(source.read_text())
    return found


def add_listings(models: dict[str, Model]) -> None:
    rank = {provider: place for place, provider in enumerate(HOUSES + HOSTS)}
    listed = sorted(
        (rank[entry["litellm_provider"]], len(key), key, entry)
        for key, entry in litellm_map().items()
        if entry.get("mode") in ("chat", "responses") and entry.get("litellm_provider") in rank
    )
    for place, _, key, entry in listed:
        name = canonical(key)
        provider = entry["litellm_provider"]
        priced = (
            entry.get("input_cost_per_token") is not None and entry.get("output_cost_per_token") is not None
        )
        context = entry.get("max_input_tokens") or entry.get("max_tokens")
        if not (priced and context) or NOT_A_CHAT_MODEL.search(name) or "ft:" in key:
            continue
        # What only a host lists joins a model that has scores, or a known organization.
        if place >= len(HOUSES) and name not in models and organization(name, Counter()) == "":
            continue
        model = models[name]
        model.listings.setdefault(provider, (key, entry))
        model.spellings.add(key)


def organization(name: str, votes: Counter[str]) -> str:
    if votes:
        named = votes.most_common(1)[0][0]
        return CANONICAL_ORGANIZATIONS.get(named, named)
    for part in name.split("-"):
        family = re.sub(r"(?<=[a-z])\d.*$", "", part)
        if found := ORGANIZATIONS.get(part) or ORGANIZATIONS.get(family):
            return found
    return ""


def release(model: Model) -> str:
    """When the model came out, by its sources, else by the date in its name."""
    dates = {one.released for found in model.cells.values() for one in found if one.released}
    if dates:
        return min(dates)
    for spelling in model.spellings:
        if found := re.search(r"(20\d{2})-?([01]\d)-?([0-3]\d)(?!\d)", spelling):
            dates.add("-".join(found.groups()))
        elif found := re.search(r"[-_.](2[3-6])(0[1-9]|1[0-2])(?!\d)", spelling):
            dates.add(f"20{found[1]}-{found[2]}")
    return min(dates) if dates else ""


def middle_of(found: Iterable[Reported]) -> Reported:
    """The score that counts: the middle one of those who make no model, else of all; of two, the newer one."""
    every = list(found)
    trusted = [one for one in every if one.independent] or every
    middle = statistics.median(one.percent for one in trusted)
    newest_first = sorted(trusted, key=lambda one: one.published, reverse=True)
    return min(newest_first, key=lambda one: abs(one.percent - middle))


def own_listing(model: Model) -> tuple[str, str, Mapping[str, Any]] | None:
    for provider in HOUSES + HOSTS:
        if provider in model.listings:
            return (provider, *model.listings[provider])
    return None


def entries(models: dict[str, Model], urls: dict[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, model in sorted(models.items()):
        listing = own_listing(model)
        entry: dict[str, Any] = {"organization": organization(name, model.organizations)}
        if released := release(model):
            entry["release"] = released
        if listing:
            provider, key, found = listing
            entry["context"] = int(found.get("max_input_tokens") or found["max_tokens"])
            entry["output"] = int(found.get("max_output_tokens") or 0)
            entry["can"] = sorted(capability(flag) for flag in FLAGS if found.get(flag))
            entry["price"] = {
                "input": nano_per_million(found["input_cost_per_token"]),
                "output": nano_per_million(found["output_cost_per_token"]),
                "of": f"{provider}: {key}",
            }
        entry["aliases"] = sorted(model.spellings - {name})
        if model.cells:
            entry["scores"] = {
                benchmark: [
                    round(one.percent, 2),
                    urls.setdefault(one.url, len(urls)),
                    one.published[:10],
                    int(one.independent),
                ]
                for benchmark, found in sorted(model.cells.items())
                for one in (middle_of(found),)
            }
        if listing or len(model.cells) >= 2:
            yield name, entry


def matrix(catalog: Mapping[str, dict[str, Any]], names: list[str]) -> np.ndarray[Any, Any]:
    return np.array(
        [[entry.get("scores", {}).get(name, [np.nan])[0] for name in names] for entry in catalog.values()]
    )


# Billions of parameters: `llama-3.1-70b` and `qwen3-30b-a3b`, of which 3 are active, are 70 and 30.
SIZE = re.compile(r"-(\d+(?:\.\d+)?)b(?=-|$)")
# A version within a name, and the words that come and go between versions of one line.
VERSION = re.compile(r"(?<![\d.])v?(\d{1,2}(?:\.\d{1,2})?)(?![\d.]|b\b|x\d)")
PASSING = re.compile(r"-(?:a\d+b|\d{4}|vl|thinking|moe|\d{2}-20\d{2}|r\d?|distill|speciale)(?=-|$)")


def line_of(name: str) -> tuple[str, float]:
    """The line that a model belongs to and its version: `claude-opus-4.8` is version 4.8 of `claude-opus`."""
    found = VERSION.search(PASSING.sub("", name))
    bare = PASSING.sub("", name)
    line = re.sub(r"-+", "-", VERSION.sub("", bare, count=1)).strip("-")
    return line, float(found[1]) if found else math.inf


def relatives(names: list[str], known: Any) -> Any:
    """For each model, how its nearest scored relatives of an older and of a newer version do: 0 is the average."""
    odds = imputation.log_odds(known)
    deviation = (odds - np.nanmean(odds, axis=0)) / np.nanstd(odds, axis=0)
    scored = ~np.isnan(deviation).all(axis=1)
    general = np.full(len(names), np.nan)
    general[scored] = np.nanmean(deviation[scored], axis=1)
    lines: dict[str, list[tuple[float, int]]] = defaultdict(list)
    versions = [line_of(name) for name in names]
    for place, (line, number) in enumerate(versions):
        if not np.isnan(general[place]):
            lines[line].append((number, place))
    columns = np.zeros((len(names), 4))
    for place, (line, number) in enumerate(versions):
        older = [entry for entry in lines[line] if entry[0] < number]
        newer = [entry for entry in lines[line] if entry[0] > number]
        for column, found in ((0, max(older, default=None)), (2, min(newer, default=None))):
            if found is not None:
                columns[place, column : column + 2] = 1.0, general[found[1]]
    return columns


def traits(catalog: Mapping[str, dict[str, Any]], known: Any) -> Any:
    """What is known of every model, about standardized; the first column is 1."""
    rows = []
    for name, entry in catalog.items():
        price = entry.get("price", {}).get("output")
        priced = price is not None
        sized = SIZE.search(name)
        # The price of a free model means nothing; two dollars a million is the middle of the market.
        rows.append(
            [
                1.0,
                float(priced),
                math.log10(price / 2e9) if price else 0.0,
                math.log10(max(entry["context"], 4096) / 131072) if priced else 0.0,
                float("reasoning" in entry.get("can", ())),
                float("vision" in entry.get("can", ())),
                float(sized is not None),
                math.log10(float(sized[1]) / 30.0) if sized else 0.0,
            ]
        )
    return np.hstack((np.array(rows), relatives(list(catalog), known)))


def left_out(known: Any, side: Any, *, whole_models: bool) -> tuple[float, float, float, int]:
    """Mean absolute error of the model and of the column mean on cells (or whole models) left out in ten folds.

    Also the share of them that lies within one standard error (two in three, if
    the estimates were perfect), and how many.
    """
    rows, columns = np.nonzero(~np.isnan(known))
    rng = np.random.default_rng(7)
    folds = rng.integers(0, 10, len(known))[rows] if whole_models else rng.integers(0, 10, len(rows))
    errors: list[float] = []
    plain: list[float] = []
    within: list[bool] = []
    for fold in range(10):
        hidden = folds == fold
        kept = known.copy()
        kept[rows[hidden], columns[hidden]] = np.nan
        assert not np.isnan(kept).all(axis=0).any(), "a benchmark has too few cells to leave any out"
        factors, prior = imputation.fit(kept, side)
        means = np.nanmean(kept, axis=0)
        for row, column in zip(rows[hidden], columns[hidden], strict=True):
            estimated, uncertainty = factors.estimate(kept[row], prior[row])
            errors.append(abs(estimated[column] - known[row, column]))
            within.append(bool(errors[-1] <= uncertainty[column]))
            plain.append(abs(means[column] - known[row, column]))
    return float(np.mean(errors)), float(np.mean(plain)), float(np.mean(within)), len(errors)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--sources", type=Path, required=True, help="folder of clones; what is missing is cloned"
    )
    options.add_argument("--date", required=True, help="when the scores were read, as YYYY-MM-DD")
    options.add_argument("--verbose", action="store_true", help="list what was dropped and what conflicts")
    chosen = options.parse_args()
    score_sources.clone(chosen.sources)
    models, dropped, reduced = gathered([*score_sources.read(chosen.sources), *ADDED])
    add_listings(models)
    urls: dict[str, int] = {}
    catalog = dict(entries(models, urls))
    counts = Counter(name for entry in catalog.values() for name in entry.get("scores", {}))
    weighed = {name for weights in WEIGHTS.values() for name in weights}
    names = [name for name in BENCHMARKS if counts[name] >= 8 or name in weighed]
    known = matrix(catalog, names)
    side = traits(catalog, known)
    error, plain, within, cells = left_out(known, side, whole_models=False)
    cold, cold_plain, _, _ = left_out(known, side, whole_models=True)
    factors, priors = imputation.fit(known, side)
    for entry, row, prior in zip(catalog.values(), known, priors, strict=True):
        entry["prior"] = [round(float(ability), 3) for ability in prior]
        score, uncertainty = factors.estimate(row, prior)
        entry["imputed"] = {
            name: [round(float(score[i]), 1), round(float(uncertainty[i]), 1)]
            for i, name in enumerate(names)
            if np.isnan(row[i]) and name in weighed
        }
    conflicts = {
        f"{name} {benchmark}": scores
        for name, model in sorted(models.items())
        for benchmark, found in sorted(model.cells.items())
        if (scores := sorted({round(one.percent, 2) for one in found}))[-1] - scores[0] > CONFLICT
    }
    head = {
        "date": chosen.date,
        "repositories": {
            name: f"{address} ({licence})" for name, address, licence, _ in score_sources.REPOSITORIES
        },
        "litellm": version("litellm"),
        "unit": "scores in percent; prices in nano-USD per million tokens",
        "left_out": {
            "cells": cells,
            "mae": round(error, 2),
            "mae_of_column_mean": round(plain, 2),
            "within_one_error": round(within, 3),
        },
        "models_left_out": {"mae": round(cold, 2), "mae_of_column_mean": round(cold_plain, 2)},
        "factors": {
            "benchmarks": names,
            **{
                part: np.round(getattr(factors, part), 4).tolist()
                for part in ("center", "scale", "noise", "loadings")
            },
        },
    }
    dense: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}
    lines = [f"{json.dumps(key)}:{json.dumps(value, **dense)}" for key, value in head.items()]
    lines.append('"sources":[\n' + ",\n".join(json.dumps(url) for url in urls) + "\n]")
    lines.append(
        '"conflicts":{\n'
        + ",\n".join(f"{json.dumps(cell)}:{json.dumps(found)}" for cell, found in conflicts.items())
        + "\n}"
    )
    lines.append(
        '"models":{\n'
        + ",\n".join(f"{json.dumps(name)}:{json.dumps(entry, **dense)}" for name, entry in catalog.items())
        + "\n}"
    )
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    priced = [name for name, entry in catalog.items() if "price" in entry]
    scored = [name for name in priced if "scores" in catalog[name]]
    print(
        f"{len(catalog)} models; {len(priced)} with price and context, {len(scored)} of them with published scores"
    )
    print(f"{sum(counts.values())} cells of {len(counts)} benchmarks, {len(conflicts)} of them in conflict")
    print(
        f"imputation: MAE {error:.2f} %, column mean {plain:.2f} %: {1 - error / plain:.0%} better, {cells} cells"
    )
    print(
        f"whole models left out: MAE {cold:.2f} %, column mean {cold_plain:.2f} %: {1 - cold / cold_plain:.0%} better"
    )
    print(f"dropped: {sum(dropped.values())} rows of {len(dropped)} benchmarks")
    print(f"left out: {sum(reduced.values())} rows of models at reduced effort or otherwise changed")
    print(f"{DATA.stat().st_size // 1024} KiB")
    if chosen.verbose:
        print("dropped:", *(f"{name} ({count})" for name, count in dropped.most_common()), sep="\n  ")
        print("reduced:", *sorted(reduced), sep="\n  ")
        print("conflicts:", *(f"{cell}: {found}" for cell, found in conflicts.items()), sep="\n  ")


if __name__ == "__main__":
    main()

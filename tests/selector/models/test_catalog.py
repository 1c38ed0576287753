"""What the catalog holds, how names find it, and what is estimated."""

import math

import numpy as np
import orjson
import pytest

from services.chassis import prices
from services.selector.models import catalog, imputation
from services.selector.models.benchmarks import CATEGORIES, WEIGHTS
from services.selector.models.catalog import DATA, Override
from services.selector.models.model_names import canonical

CATALOG = catalog.load()


def test_the_models_people_use_have_prices_and_many_have_published_scores() -> None:
    priced = [
        entry for entry in CATALOG.entries.values() if entry.output_price is not None and entry.context_window
    ]
    scored = [entry for entry in priced if entry.published]
    assert len(priced) >= 250
    assert len(scored) >= 120
    for name in (
        "gpt-5.5",
        "claude-opus-4.8",
        "gemini-3.1-pro",
        "deepseek-v4-pro",
        "glm-5.1",
        "kimi-k2.6",
        "gpt-4o",
    ):
        assert CATALOG.entries[name] in scored
    for name in ("gpt-6-astra", "claude-opus-5.5", "gemini-4-argon", "grok-4.7"):
        assert CATALOG.entries[name] in priced


def test_every_published_score_is_a_percentage_with_a_source_and_a_date() -> None:
    for entry in CATALOG.entries.values():
        for score in entry.published:
            assert 0 <= score.percent <= 100
            assert score.source.startswith("https://")
            assert 10 == len(score.date)


def test_every_model_has_every_benchmark_that_counts_and_imputed_ones_are_marked() -> None:
    counting = {name for weights in WEIGHTS.values() for name in weights}
    for entry in CATALOG.entries.values():
        assert counting <= entry.scores.keys()
        for score in entry.scores.values():
            assert score.imputed == (not score.source)
            assert score.uncertainty > 0
            assert not (score.imputed and score.independent)


def test_every_category_of_the_classifier_has_weights() -> None:
    assert {*CATEGORIES, "long_context", "multilingual"} == WEIGHTS.keys()


def test_imputation_beats_the_column_mean_by_far_on_cells_left_out() -> None:
    left_out = orjson.loads(DATA.read_bytes())["left_out"]
    assert left_out["cells"] > 2000
    assert left_out["mae"] <= 0.7 * left_out["mae_of_column_mean"]


def test_imputation_recovers_cells_of_a_world_with_two_abilities() -> None:
    rng = np.random.default_rng(3)
    ability = rng.standard_normal((80, 2))
    loadings = np.column_stack((np.ones(12), np.linspace(-1, 1, 12)))
    full = imputation.percent(ability @ loadings.T + 0.4 * rng.standard_normal((80, 12)))
    hidden = rng.random(full.shape) < 0.5
    known = np.where(hidden, np.nan, full)
    traits = np.ones((80, 1))
    factors, priors = imputation.fit(known, traits)
    estimated, errors = zip(
        *(factors.estimate(row, about) for row, about in zip(known, priors, strict=True)), strict=True
    )
    missed = np.abs(np.array(estimated) - full)[hidden]
    plain = np.abs(np.nanmean(known, axis=0) - full)[hidden]
    assert missed.mean() < 0.6 * plain.mean()
    # About two in three lie within one standard error, if the errors are honest.
    assert 0.5 < np.mean(missed < np.array(errors)[hidden]) < 0.9


def test_a_model_of_which_more_is_known_is_less_uncertain() -> None:
    known, unknown = CATALOG.entries["gpt-4o"], CATALOG.entries["gpt-6-astra"]
    assert known.scores["AIME 2025"].imputed
    assert unknown.scores["AIME 2025"].uncertainty > known.scores["AIME 2025"].uncertainty


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-3.7-sonnet"),
        ("vertex_ai/claude-3-5-haiku@20241022", "claude-3.5-haiku"),
        ("claude-3-5-sonnet-20240620", "claude-3.5-sonnet-20240620"),
        ("claude-3-5-sonnet-20241022", "claude-3.5-sonnet"),
        ("accounts/fireworks/models/llama-v3p1-405b-instruct", "llama-3.1-405b"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama-3.1-70b"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "llama-3.1-70b"),
        ("Llama 3.1 405b", "llama-3.1-405b"),
        ("gpt-4.1-2025-04-14", "gpt-4.1"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gemma-3-27b-it", "gemma-3-27b"),
        ("groq/openai/gpt-oss-120b", "gpt-oss-120b"),
        ("o1-preview", "o1-preview"),
        ("DeepSeek V3 (0324)", "deepseek-v3-0324"),
    ],
)
def test_a_model_has_one_spelling(spelling: str, expected: str) -> None:
    assert expected == canonical(spelling)
    assert expected == canonical(expected)


def test_every_entry_is_found_by_its_id_and_nearly_every_name_of_litellm_finds_one() -> None:
    for name in CATALOG.entries:
        found = CATALOG.find(name)
        assert found is not None
        assert name == found.id
    for provider, model in (
        ("openai", "gpt-5.4-mini"),
        ("anthropic", "claude-sonnet-4-6"),
        ("groq", "openai/gpt-oss-20b"),
    ):
        assert prices.listing(provider, model) is not None
        assert CATALOG.find(model) is not None
    assert CATALOG.find("no-such-model-at-all") is None


def test_quality_is_the_weighted_mean_and_skips_what_has_no_score() -> None:
    entry = CATALOG.entries["gpt-4o"]
    mmlu, ifeval = (one.percent - one.uncertainty for one in (entry.scores["MMLU"], entry.scores["IFEval"]))
    expected = (3 * mmlu + ifeval) / 400
    assert math.isclose(expected, entry.quality({"MMLU": 3, "IFEval": 1, "never heard of": 9}))


def test_an_operators_entry_overrides_published_scores_and_the_rest_is_estimated_anew() -> None:
    mine = Override(
        "my-model",
        organization="me",
        context_window=32_000,
        aliases=("My Model",),
        scores={"MMLU": 95.0, "GPQA Diamond": 85.0},
    )
    weaker = Override("gpt-4o", scores={"MMLU": 20.0})
    changed = CATALOG.with_overrides([mine, weaker])
    entry = changed.find("my model")
    assert entry is not None
    assert ("my-model", "me", 32_000) == (entry.id, entry.organization, entry.context_window)
    assert 95.0 == entry.scores["MMLU"].percent
    assert not entry.scores["MMLU"].imputed
    assert entry.scores["MMLU-Pro"].imputed
    assert entry.scores["MMLU-Pro"].percent > 75
    assert 20.0 == changed.entries["gpt-4o"].scores["MMLU"].percent
    assert CATALOG.entries["gpt-4o"].scores["HumanEval"] == changed.entries["gpt-4o"].scores["HumanEval"]

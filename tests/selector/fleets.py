"""Small fleets to select from."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.chassis.deployments import Deployment, Fleet
from services.chassis.prices import Price, Row, rates_of
from services.selector.live import snapshot
from services.selector.live.snapshot import Report, Snapshot
from services.selector.models.catalog import Catalog, Entry, Score
from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.options import Options
from services.selector.ranking.select import Selector

ABLE = frozenset({"vision", "audio", "file", "tools", "json_schema"})


def price(dollars_in: float, dollars_out: float) -> Price:
    """A price in US dollars per million tokens."""
    return Price(
        (Row("", 0, rates_of({"input": round(dollars_in * 1e9), "output": round(dollars_out * 1e9)})),)
    )


def deployment(ident: str, **about: Any) -> Deployment:
    """A deployment that can do anything at two dollars a million, by default."""
    model = about.pop("model", ident.partition("@")[0])
    dollars = about.pop("dollars", (1.0, 4.0))
    return Deployment(
        **{
            "id": ident,
            "model": model,
            "provider": "openai",
            "litellm_model": model,
            "price": price(*dollars),
            "context_window": 128_000,
            "capabilities": ABLE,
            **about,
        }
    )


def fleet(deployments: Iterable[Deployment], **about: Any) -> Fleet:
    """A fleet without aliases and fallbacks, by default."""
    return Fleet(tuple(deployments), **about)


def catalog(qualities: Mapping[str, float]) -> Catalog:
    """A catalog whose models score the same percent on everything that any category weighs."""
    names = ("MMLU-Pro", "IFEval", "Arena-Hard", "LiveCodeBench", "GPQA Diamond", "MATH-500")
    return Catalog(
        Entry(
            model, scores={name: Score(name, percent, "https://example.org", "2026-01-01") for name in names}
        )
        for model, percent in qualities.items()
    )


def selector(
    deployments: Iterable[Deployment],
    qualities: Mapping[str, float] | None = None,
    *,
    options: Options | None = None,
    **about: Any,
) -> Selector:
    """A selector over a fleet; models without a quality are unknown to its catalog."""
    known = catalog(qualities or {})
    return Selector(DeploymentTable(fleet(deployments, **about), known, options or Options()), known)


def healthy(chosen: Selector, **reports: Report) -> Snapshot:
    """All deployments called once and well, but for those that say otherwise."""
    said = {d.id: Report(d.id, latency_ms=500.0) for d in chosen.table.deployments}
    return snapshot.merge(chosen.table, [[*({**said, **reports}).values()]], 1000.0)

"""What people read of a run."""

from collections.abc import Sequence

from tests.chaos.drills import DRILLS
from tests.chaos.verdict import Verdict


def written(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in Markdown."""
    return "\n".join(_one(verdict) for verdict in verdicts)


def _one(verdict: Verdict) -> str:
    doc = (DRILLS[verdict.name].__doc__ or "").strip()
    failed = ", ".join(f"{count}: {why}" for why, count in verdict.excused.items()) or "none"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(verdict.kinds.items()))
    lines = [
        f"## {verdict.name}: {'WRONG' if verdict.problems else 'as it must be'}",
        "",
        doc,
        "",
        f"- {verdict.seconds:.0f} s; callers saw {verdict.traffic}",
        f"- must fail, and did: {failed}",
        f"- the ledger has {kinds}; all settled {verdict.settled_after_s:.1f} s after the last answer",
        f"- the provider has seen {verdict.provider_saw} requests in all drills so far",
        *(f"- {line}" for line in verdict.said),
        *(f"- WRONG {line}" for line in verdict.problems),
        "",
    ]
    return "\n".join(lines)

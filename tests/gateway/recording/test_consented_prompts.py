"""Which kept prompts other models may be asked: those of plans that allowed it then, and still do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.chassis import errors
from services.chassis.config import Secrets
from services.gateway import postgres
from services.gateway.cipher import Cipher
from services.gateway.config.live import Live
from services.gateway.config.plans import Plan, Plans
from services.gateway.recording.consented_prompts import ConsentedPrompts, Draw
from services.gateway.recording.record import Content, Record
from services.gateway.recording.text_store import PURPOSE, TextStore
from services.gateway.reports.time_range import TimeRange

OPEN, CLOSED = Plan("open", evaluate_prompts=True), Plan("closed")
NOW = datetime.now(UTC)
TIMES = TimeRange(NOW - timedelta(days=1), NOW + timedelta(days=1))
KEY = "INSERT INTO virtual_keys (key_id, hint, user_id, plan, models, store_prompts) VALUES ($1, '', $2, $3, $4, $5)"
CLASSIFIED = """
INSERT INTO task_classifications
VALUES ($1, now(), $2, $3, '', $4, 'fast', $5, '', 'en', 0.5, 1, 10, 'v')
"""


def live(*plans: Plan) -> Live[Plans]:
    return Live(Plans({plan.name: plan for plan in plans}, plans[0], plans[0]))


def kept_in(pool: postgres.Pool) -> TextStore:
    return TextStore(pool, Cipher(Secrets("a secret of thirty-two characters"), PURPOSE), 30, Content.FULL)


async def asked(
    pool: postgres.Pool,
    ident: str,
    *,
    user: str = "ann",
    may_evaluate: bool = True,
    plan: str = "open",
    category: str = "code",
) -> None:
    """A request of a user's key that was kept."""
    body = b'{"messages": [{"role": "user", "content": "%s"}]}' % ident.encode()
    about = {"request_id": ident, "model": "m", "user_id": user}
    store = kept_in(pool)
    async with store.delivering():
        store.add(Record(about, body, stream=False, may_evaluate=may_evaluate))
    await pool.execute(CLASSIFIED, ident, f"key-{user}", user, plan, category)


async def key(
    pool: postgres.Pool, user: str, plan: str, *, models: Any = (), keeps: bool | None = None
) -> None:
    await pool.execute("INSERT INTO users (user_id) VALUES ($1)", user)
    await pool.execute(KEY, f"key-{user}", user, plan, list(models), keeps)


async def ids(prompts: ConsentedPrompts, **more: Any) -> list[str]:
    found = await prompts.drawn(Draw(TIMES, 20, "1", **more))
    return sorted(row["request_id"] for row in found["data"])


async def test_only_what_was_consented_to_then_and_now_is_drawn_and_read(pool: postgres.Pool) -> None:
    await asked(pool, "free")
    await asked(pool, "before", may_evaluate=False)
    await asked(pool, "other-plan", plan="closed")
    keys: list[tuple[str, str, dict[str, Any]]] = [
        ("bob", "open", {}),
        ("moved", "closed", {}),
        ("shy", "open", {"keeps": False}),
        ("bound", "open", {"models": ["small"]}),
        ("erased", "open", {}),
    ]
    for user, plan, settings in keys:
        await key(pool, user, plan, **settings)
        await asked(pool, user, user=user)
    await pool.execute("INSERT INTO erasures (user_id, stranger) VALUES ('erased', 'e')")
    await asked(pool, "expired", user="bob")
    await pool.execute("UPDATE request_texts SET expires_at = now() WHERE request_id = 'expired'")
    plans = live(OPEN, CLOSED)
    prompts = ConsentedPrompts(pool, kept_in(pool), plans)

    assert ["bob", "free"] == await ids(prompts)
    found = await prompts.read("bob")
    assert ("code", 0.5, "bob") == (
        found["category"],
        found["strong_win_rate"],
        found["request"]["messages"][0]["content"],
    )
    for ident in ("before", "other-plan", "moved", "shy", "bound", "erased", "expired", "nobody"):
        with pytest.raises(errors.NotFound):
            await prompts.read(ident)
    # The operator takes it back.
    plans.replace(live(Plan("open"), Plan("third", evaluate_prompts=True)).current)
    assert [] == await ids(prompts)
    with pytest.raises(errors.NotFound):
        await prompts.read("bob")


async def test_prompts_are_drawn_evenly_at_random_and_the_same_for_a_seed(pool: postgres.Pool) -> None:
    for n in range(12):
        await asked(pool, f"code-{n}")
    await asked(pool, "math-0", category="math")
    prompts = ConsentedPrompts(pool, kept_in(pool), live(OPEN))

    first, again, other = [
        [row["request_id"] for row in (await prompts.drawn(Draw(TIMES, 1, seed)))["data"]]
        for seed in ("1", "1", "2")
    ]

    # Four candidates for each that is wanted, categories in turn.
    assert first == again
    assert first != other
    assert 5 == len(first)
    assert "math-0" in first[:2]


@pytest.mark.parametrize(
    ("plans", "plan", "fault"),
    [
        ([CLOSED], "", "no plan lets prompts be evaluated"),
        ([OPEN, CLOSED], "closed", "the plan 'closed' does not let prompts be evaluated"),
        ([OPEN], "", "LUMNI_PROMPTS_KEY is not set"),
    ],
)
async def test_it_is_refused_with_the_reason(
    pool: postgres.Pool, plans: list[Plan], plan: str, fault: str
) -> None:
    with pytest.raises(errors.Conflict, match=fault):
        await ids(ConsentedPrompts(pool, None, live(*plans)), plan=plan)

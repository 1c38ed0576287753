"""A key that a command makes to ask models what users wrote: nothing of it is kept, and it reaches no other model."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from services.chassis.money import usd
from services.gateway.cli.client import Gateway

# It ends by itself, whatever happens to the command.
LIVES = timedelta(days=2)


@contextmanager
def made(gateway: Gateway, plan: str | None = None, budget: int | None = None) -> Iterator[str]:
    """Make a key for the block, and revoke it at its end.

    Args:
        gateway: Where, as an admin.
        plan: Its plan; the default one when left out.
        budget: What it may spend, in nano-USD; what its plan lets it when left out.

    Raises:
        RefusedError: the gateway refuses, or there is none.
    """
    # Only this needs it and what it imports.
    from services.gateway.keys.permissions import EVALUATION

    key = gateway(
        "POST",
        "/admin/keys",
        json={
            "user_id": EVALUATION,
            "store_prompts": False,
            **({"plan": plan} if plan else {}),
            **({"budget_usd": f"{usd(budget):.9f}"} if budget is not None else {}),
            "expires_at": (datetime.now(UTC) + LIVES).isoformat(timespec="seconds"),
        },
    )
    try:
        yield key["key"]
    finally:
        gateway("POST", f"/admin/keys/{key['key_id']}/revoke")

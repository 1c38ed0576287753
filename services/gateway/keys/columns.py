"""What admins may set, and how it may look."""

import re
from collections.abc import Mapping
from typing import Any

# What ids may look like: nothing that a log, a path or a counter's name would have to escape.
IDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}")
# By the column it goes to; users and organizations have some of a key's.
SETTABLE = frozenset(
    (
        "user_id",
        "organization_id",
        "plan",
        "models",
        "rpm_limit",
        "tpm_limit",
        "parallel_limit",
        "budget_nano_usd",
        "budget_period",
        "expires_at",
        "metadata",
        "powerful_share",
        "store_prompts",
    )
)


def assignments(fields: Mapping[str, Any]) -> str:
    """`column = $2, ..., ` for an UPDATE; only columns that may be set get into its text."""
    unknown = set(fields) - SETTABLE
    assert not unknown, unknown
    return "".join(f"{name} = ${place}, " for place, name in enumerate(fields, 2))

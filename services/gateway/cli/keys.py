"""lumni keys: make, list, change and end keys."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from services.gateway.cli.client import Gateway
from services.gateway.cli.output import facts, show, table
from services.gateway.config.budgets import Period

COLUMNS = (
    ("KEY ID", "key_id"),
    ("SECRET", "hint"),
    ("USER", "user_id"),
    ("ORGANIZATION", "organization_id"),
    ("PLAN", "plan"),
    ("STATUS", "status"),
    ("RPM", "rpm_limit"),
    ("TPM", "tpm_limit"),
    ("BUDGET USD", "budget_usd"),
    ("PER", "budget_period"),
    ("EXPIRES", "expires_at"),
)
PAGE = 1000

# Typer reads a command's options from its signature, so `create` and `set` list the same ones; each is declared here.
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID")]
User = Annotated[str | None, typer.Option("--user")]
Organization = Annotated[str | None, typer.Option("--organization")]
Plan = Annotated[str | None, typer.Option("--plan")]
Models = Annotated[
    str | None, typer.Option("--models", help="names, separated by commas; none is all of the plan's")
]
Rpm = Annotated[int | None, typer.Option("--rpm", help="requests per minute")]
Tpm = Annotated[int | None, typer.Option("--tpm", help="tokens per minute")]
Parallel = Annotated[int | None, typer.Option("--parallel", help="requests at the same time")]
BudgetUsd = Annotated[str | None, typer.Option("--budget-usd")]
BudgetPeriod = Annotated[Period | None, typer.Option("--budget-period")]
PowerfulShare = Annotated[float | None, typer.Option("--powerful-share", help="of its requests, 0 to 1")]
StorePrompts = Annotated[
    bool | None, typer.Option("--store-prompts/--no-store-prompts", help="whether prompts may be kept")
]
ExpiresAt = Annotated[str | None, typer.Option("--expires-at", help="such as 2030-01-01T00:00:00Z")]

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def find(user_id: User = None, organization_id: Organization = None, plan: Plan = None) -> None:
    """List keys."""
    gateway = Gateway()
    only = _given({"user_id": user_id, "organization_id": organization_id, "plan": plan})
    rows: list[Mapping[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = gateway("GET", "/admin/keys", params={**only, "after": after, "limit": PAGE})
        rows += [{**row, "hint": f"...{row['hint']}"} for row in page["data"]]
        after = page["after"]
    show(table(rows, COLUMNS))


@app.command()
def create(
    user_id: User = None,
    organization_id: Organization = None,
    plan: Plan = None,
    models: Models = None,
    rpm_limit: Rpm = None,
    tpm_limit: Tpm = None,
    parallel_limit: Parallel = None,
    budget_usd: BudgetUsd = None,
    budget_period: BudgetPeriod = None,
    powerful_share: PowerfulShare = None,
    store_prompts: StorePrompts = None,
    expires_at: ExpiresAt = None,
) -> None:
    """Make a key and show its secret, this once."""
    # The options are named as the fields of POST /admin/keys.
    made = Gateway()("POST", "/admin/keys", json=_given(locals()))
    show(facts(made), "\nThe key is shown only now; keep it safe.")


@app.command("set")
def change(
    key_id: KeyId,
    user_id: User = None,
    organization_id: Organization = None,
    plan: Plan = None,
    models: Models = None,
    rpm_limit: Rpm = None,
    tpm_limit: Tpm = None,
    parallel_limit: Parallel = None,
    budget_usd: BudgetUsd = None,
    budget_period: BudgetPeriod = None,
    powerful_share: PowerfulShare = None,
    store_prompts: StorePrompts = None,
    expires_at: ExpiresAt = None,
) -> None:
    """Change a key."""
    fields = _given(locals())
    show(facts(Gateway()("PATCH", f"/admin/keys/{fields.pop('key_id')}", json=fields)))


@app.command("show")
def get(key_id: KeyId) -> None:
    """Show a key and what it spent."""
    show(facts(Gateway()("GET", f"/admin/keys/{key_id}")))


@app.command()
def secret() -> None:
    """Show which keys still need the LUMNI_KEY_SECRET before the first one."""
    found = Gateway()("GET", "/admin/key-secret")
    if not found["waiting"]:
        show(f"All {found['keys']} keys are stored under the first LUMNI_KEY_SECRET; take the others away.")
        return
    show(
        f"{found['waiting']} of {found['keys']} keys were not used since LUMNI_KEY_SECRET changed, and need the old:",
        *found["waiting_key_ids"],
    )


@app.command()
def revoke(key_id: KeyId) -> None:
    """End a key for good."""
    Gateway()("POST", f"/admin/keys/{key_id}/revoke")
    show(f"{key_id} is revoked; every gateway refuses it within a second.")


@app.command()
def reset_limits(key_id: KeyId) -> None:
    """Let a key begin its minute anew."""
    Gateway()("POST", f"/admin/keys/{key_id}/reset-limits")
    show(f"{key_id} begins its minute anew.")


@app.command()
def rotate(
    key_id: KeyId,
    grace_s: Annotated[int, typer.Option(help="how long the old secret works on, in seconds")] = 86400,
    idempotency_key: Annotated[
        str | None, typer.Option(help="the same again gives the same secret again")
    ] = None,
) -> None:
    """Give a key a new secret and show it, this once."""
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    made = Gateway()("POST", f"/admin/keys/{key_id}/rotate", json={"grace_s": grace_s}, headers=headers)
    show(facts({name: made[name] for name in ("key_id", "key", "old_valid_until")}))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; the names of models as a list."""
    given = {name: value for name, value in options.items() if value is not None}
    if "models" in given:
        given["models"] = [name.strip() for name in given["models"].split(",") if name.strip()]
    return given

"""The command line client: `lumni`.

It speaks to the gateway over REST. `LUMNI_URL` says where (else OPENAI_BASE_URL without /v1, else this machine), and
LUMNI_ADMIN_KEY or OPENAI_API_KEY says who. `lumni import` works on the stores themselves.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from services.chassis import config
from services.chassis.config import Mistakes, Secret, variable
from services.gateway.cli.explain import explained
from services.gateway.cli.tables import bar, facts, table

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Settings:
    """Where the gateway is, and who asks."""

    url: str = variable("LUMNI_URL", "", "base address of the gateway")
    openai_url: str = variable("OPENAI_BASE_URL", "", "the same with /v1, as `make run` writes it")
    admin_key: Secret = variable("LUMNI_ADMIN_KEY", Secret(""), "the admin key")
    api_key: Secret = variable("OPENAI_API_KEY", Secret(""), "a virtual key")

    @property
    def base(self) -> str:
        """The base address."""
        return self.url or self.openai_url.rstrip("/").removesuffix("/v1") or "http://127.0.0.1:8080"

    @property
    def key(self) -> Secret:
        """The key to show."""
        return self.admin_key or self.api_key


class RefusedError(Exception):
    """What the gateway said instead of an answer."""


class Gateway:
    """The gateway's REST surface."""

    def __init__(self, settings: Settings) -> None:
        """Connect when first asked."""
        self._http = httpx.Client(
            base_url=settings.base,
            headers={"authorization": f"Bearer {settings.key.reveal()}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        """Ask, and answer the JSON or the text.

        Raises:
            RefusedError: in the gateway's own words, or because there is none.
        """
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise RefusedError(f"no gateway at {self._http.base_url}: {error}") from error
        if answer.is_error:
            try:
                raise RefusedError(answer.json()["error"]["message"])
            except (ValueError, KeyError, TypeError):
                raise RefusedError(f"the gateway answered {answer.status_code}") from None
        whole = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if whole else answer.text


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave; code 1 with one line when it could not be done."""
    given = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = given.run
    try:
        run(given)
    except (RefusedError, Mistakes) as error:
        sys.exit(f"lumni: {error}")
    except BrokenPipeError:
        # Whoever read us had enough.
        sys.stderr.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lumni", description="Look after a Lumni gateway.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_explain(commands)
    _add_keys(commands)
    _add_usage(commands)
    _add_learn(commands)
    _add_import(commands)
    return parser


def _gateway() -> Gateway:
    settings = config.from_environ(Settings, os.environ)
    if not settings.key.reveal():
        raise RefusedError(
            "no key: set LUMNI_ADMIN_KEY, or OPENAI_API_KEY for explain; after `make run`: source .lumni/local.env"
        )
    return Gateway(settings)


def _say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


# -- explain ---------------------------------------------------------------------------------------------------------


def _add_explain(commands: Any) -> None:
    command = commands.add_parser(
        "explain", help="show how a prompt would be decided, without calling a model"
    )
    command.add_argument("prompt")
    command.add_argument("--model", default="auto", help="pin a model or a group")
    command.add_argument("--strategy", help="balanced, quality, cost, latency or free_first")
    command.add_argument("--plan", help="as if the key had another plan")
    command.add_argument("--tier", choices=("fast", "powerful"), help="as if the caller asked for it")
    command.add_argument("--at", type=float, help="as if it were another time, in seconds since 1970")
    command.set_defaults(run=_explain)


def _explain(given: argparse.Namespace) -> None:
    what_if = {"strategy": given.strategy, "plan": given.plan, "task_type": given.tier, "at": given.at}
    body = {
        "model": given.model,
        "messages": [{"role": "user", "content": given.prompt}],
        "lumni": {name: value for name, value in what_if.items() if value is not None},
    }
    _say(explained(_gateway()("POST", "/v1/route", json=body)))


# -- keys ------------------------------------------------------------------------------------------------------------

KEY_COLUMNS = (
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


def _add_keys(commands: Any) -> None:
    keys = commands.add_parser("keys", help="make, list, change and end keys").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = keys.add_parser("list", help="list keys")
    listing.add_argument("--user", dest="user_id")
    listing.add_argument("--organization", dest="organization_id")
    listing.add_argument("--plan")
    listing.set_defaults(run=_list_keys)
    for name, text, run in (
        ("create", "make a key and show its secret, this once", _create_key),
        ("set", "change a key", _change_key),
    ):
        command = keys.add_parser(name, help=text)
        if name == "set":
            command.add_argument("key_id")
        command.add_argument("--user", dest="user_id")
        command.add_argument("--organization", dest="organization_id")
        command.add_argument("--plan")
        command.add_argument(
            "--models", type=_words, help="names, separated by commas; none is all of the plan's"
        )
        command.add_argument("--rpm", dest="rpm_limit", type=int, help="requests per minute")
        command.add_argument("--tpm", dest="tpm_limit", type=int, help="tokens per minute")
        command.add_argument("--parallel", dest="parallel_limit", type=int, help="requests at the same time")
        command.add_argument("--budget-usd", dest="budget_usd")
        command.add_argument("--budget-period", choices=("day", "week", "month", "total"))
        command.add_argument(
            "--powerful-share", dest="powerful_share", type=float, help="of its requests, 0 to 1"
        )
        command.add_argument("--expires-at", help="such as 2030-01-01T00:00:00Z")
        command.set_defaults(run=run)
    for name, text, run in (
        ("show", "show a key and what it spent", _show_key),
        ("revoke", "end a key for good", _revoke_key),
        ("reset-limits", "let a key begin its minute anew", _reset_limits),
    ):
        command = keys.add_parser(name, help=text)
        command.add_argument("key_id")
        command.set_defaults(run=run)
    rotate = keys.add_parser("rotate", help="give a key a new secret and show it, this once")
    rotate.add_argument("key_id")
    rotate.add_argument(
        "--grace-s", type=int, default=86400, help="how long the old secret works on, in seconds"
    )
    rotate.add_argument("--idempotency-key", help="the same again gives the same secret again")
    rotate.set_defaults(run=_rotate_key)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _fields(given: argparse.Namespace) -> dict[str, Any]:
    names = (
        "user_id organization_id plan models rpm_limit tpm_limit parallel_limit budget_usd budget_period expires_at "
        "powerful_share"
    ).split()
    return {name: getattr(given, name) for name in names if getattr(given, name, None) is not None}


def _list_keys(given: argparse.Namespace) -> None:
    gateway = _gateway()
    rows: list[Mapping[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = gateway("GET", "/admin/keys", params={**_fields(given), "after": after, "limit": 1000})
        rows += [{**row, "hint": f"...{row['hint']}"} for row in page["data"]]
        after = page["after"]
    _say(table(rows, KEY_COLUMNS))


def _create_key(given: argparse.Namespace) -> None:
    made = _gateway()("POST", "/admin/keys", json=_fields(given))
    _say(facts(made))
    _say("\nThe key is shown only now; keep it safe.")


def _change_key(given: argparse.Namespace) -> None:
    _say(facts(_gateway()("PATCH", f"/admin/keys/{given.key_id}", json=_fields(given))))


def _show_key(given: argparse.Namespace) -> None:
    _say(facts(_gateway()("GET", f"/admin/keys/{given.key_id}")))


def _revoke_key(given: argparse.Namespace) -> None:
    _gateway()("POST", f"/admin/keys/{given.key_id}/revoke")
    _say(f"{given.key_id} is revoked; every gateway refuses it within a second.")


def _reset_limits(given: argparse.Namespace) -> None:
    _gateway()("POST", f"/admin/keys/{given.key_id}/reset-limits")
    _say(f"{given.key_id} begins its minute anew.")


def _rotate_key(given: argparse.Namespace) -> None:
    headers = {"idempotency-key": given.idempotency_key} if given.idempotency_key else {}
    made = _gateway()(
        "POST", f"/admin/keys/{given.key_id}/rotate", json={"grace_s": given.grace_s}, headers=headers
    )
    _say(facts({name: made[name] for name in ("key_id", "key", "old_valid_until")}))


# -- usage -----------------------------------------------------------------------------------------------------------


def _add_usage(commands: Any) -> None:
    command = commands.add_parser("usage", help="what was used and what it cost")
    command.add_argument(
        "--by", default="model", help="day, hour, model, provider, category, tier, plan, key, user ..."
    )
    command.add_argument(
        "--user", dest="user_id", help="one user; the only choice with a key that is no admin's"
    )
    command.add_argument("--key", dest="key_id")
    command.add_argument("--organization", dest="organization_id")
    command.add_argument("--from", dest="since", help="a date or moment; 30 days ago when left out")
    command.add_argument("--to", dest="until", help="a date or moment, excluded; now when left out")
    command.add_argument("--csv", action="store_true", help="as CSV")
    command.set_defaults(run=_usage)


def _usage(given: argparse.Namespace) -> None:
    settings = config.from_environ(Settings, os.environ)
    params = {
        "group_by": given.by,
        "from": given.since,
        "to": given.until,
        "format": "csv" if given.csv else "json",
    }
    if settings.admin_key or not given.user_id:
        path = "/admin/usage"
        params |= {"user_id": given.user_id, "key_id": given.key_id, "organization_id": given.organization_id}
    else:
        path = f"/usage/{given.user_id}"
    answer = Gateway(settings)("GET", path, params={name: value for name, value in params.items() if value})
    if given.csv:
        _say(answer)
        return
    groups = [(name.upper(), name) for name in answer["group_by"]]
    numbers = (
        ("REQUESTS", "requests"),
        ("PROMPT", "prompt_tokens"),
        ("COMPLETION", "completion_tokens"),
        ("COST USD", "cost_usd"),
        ("PER REQUEST", "cost_per_request_usd"),
        ("MEAN MS", "mean_latency_ms"),
    )
    total = {**answer["total"], **({groups[0][1]: "all"} if groups else {})}
    _say(table([*answer["data"], total] if groups else [total], [*groups, *numbers]))
    saved = answer["savings"]
    if saved["saved_share"] is not None:
        _say(
            f"\nThe most powerful allowed models would have cost {saved['most_powerful_usd']:.6f} USD: "
            f"{saved['saved_usd']:.6f} USD ({saved['saved_share']:.0%}) saved."
        )


# -- learn -----------------------------------------------------------------------------------------------------------


def _add_learn(commands: Any) -> None:
    command = commands.add_parser(
        "learn", help="print what users' feedback teaches, for python -m services.classifier.training.refit"
    )
    # As they are: where there are none, an empty line would be one too many.
    command.set_defaults(run=lambda _: sys.stdout.write(_gateway()("GET", "/admin/learning")))


# -- import ----------------------------------------------------------------------------------------------------------


def _add_import(commands: Any) -> None:
    command = commands.add_parser("import", help="bring keys and usage of the previous generation over")
    command.add_argument(
        "file", type=Path, help="a SQLite file; its tables are described in docs/migration.md"
    )
    command.add_argument("--dry-run", action="store_true", help="only look whether it could be done")
    command.set_defaults(run=_import)


def _import(given: argparse.Namespace) -> None:
    # Only this command needs the stores and their drivers.
    from services.gateway.cli import legacy_import

    def progress(name: str, done: int, total: int) -> None:
        sys.stderr.write(f"\r{name.ljust(10)} {bar(done, total)}" + ("\n" if done >= total else ""))

    try:
        outcome = asyncio.run(legacy_import.bring(given.file, dry=given.dry_run, progress=progress))
    except legacy_import.UnreadableError as error:
        raise RefusedError(str(error)) from error
    for name, count in outcome.rows.items():
        _say(f"{name}: {count:,} rows {'could be brought over' if given.dry_run else 'brought over'}")
    for name, count in outcome.skipped.items():
        _say(f"{name}: {count:,} rows left behind")
    for problem in outcome.problems:
        _say(f"  {problem}")


if __name__ == "__main__":
    main()

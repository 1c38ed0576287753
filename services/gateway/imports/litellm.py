"""LiteLLM's tables as records: keys, teams, users and budgets.

A team becomes an organization. What LiteLLM checks of a key in several places (its own models, its team's, its user's)
is worked out here once, for a key here has one list.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from services.gateway.imports import fields
from services.gateway.imports.model_names import ModelNames, within
from services.gateway.imports.periods import period
from services.gateway.imports.records import Key, Limits, Mistake, Note, Organization, Record, User

Row: TypeAlias = Mapping[str, Any]

KEYS, TEAMS, USERS = "LiteLLM_VerificationToken", "LiteLLM_TeamTable", "LiteLLM_UserTable"
BUDGETS, ORGANIZATIONS = "LiteLLM_BudgetTable", "LiteLLM_OrganizationTable"
MEMBERS = "LiteLLM_TeamMembership"
LIMIT_COLUMNS = ("max_parallel_requests", "tpm_limit", "rpm_limit", "max_budget", "budget_duration")
# Columns that limit something there and have no counterpart here.
WITHOUT_COUNTERPART = (
    "tpd_limit", "soft_budget", "model_max_budget", "budget_limits", "budget_fallbacks", "aliases", "config",
    "router_settings", "permissions", "allowed_cache_controls", "policies", "access_group_ids",
    "object_permission_id", "auto_rotate", "temp_budget_increase",
)  # fmt: skip
# The tables of the settings: by name the columns that must be there, and those that are read where they are.
TABLES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    BUDGETS: (("budget_id", "max_budget"), (*LIMIT_COLUMNS, *WITHOUT_COUNTERPART)),
    ORGANIZATIONS: (("organization_id", "budget_id"), ("models", *WITHOUT_COUNTERPART)),
    TEAMS: (
        ("team_id", "models"),
        ("organization_id", "team_alias", "blocked", *LIMIT_COLUMNS, *WITHOUT_COUNTERPART),
    ),
    USERS: (("user_id",), ("models", *LIMIT_COLUMNS, *WITHOUT_COUNTERPART)),
    KEYS: (
        ("token", "models", "user_id", "team_id", "expires", "metadata"),
        ("key_name", "key_alias", "blocked", "organization_id", "budget_id", "created_at", "updated_at",
         "allowed_routes", *LIMIT_COLUMNS, *WITHOUT_COUNTERPART),
    ),
    MEMBERS: (("user_id", "team_id", "budget_id"), ()),
}  # fmt: skip
# The team of the sessions of LiteLLM's dashboard, and the user who stands for the whole proxy's budget.
DASHBOARD_TEAM, PROXY_USER = "litellm-dashboard", "litellm-proxy-budget"
# What a key without a list of routes may call there, and what every key may call here.
MODEL_ROUTES = "llm_api_routes"
HASH = re.compile(r"[0-9a-f]{64}")
# Of a key's metadata: what may hold passwords of logging services, and limits of single models.
SECRET_METADATA = ("logging", "callback_settings", "callback_vars")
LIMITING_METADATA = ("model_rpm_limit", "model_tpm_limit", "guardrails", "tag_budget_config")
# Bytes of metadata, as the admin routes take it.
MOST_METADATA = 16 * 1024
# Models of one key, as the admin routes take them.
MOST_MODELS = 256


@dataclass
class Tables:
    """The rows of the tables that hold settings."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def of(self, table: str, by: str) -> dict[str, Row]:
        """The rows of a table by one of its columns."""
        return {str(row[by]): row for row in self.rows.get(table, ())}


class Settings:
    """Everything but what was spent."""

    def __init__(self, tables: Tables, models: ModelNames, now: datetime) -> None:
        """Take the tables as they are, at `now`."""
        self._tables = tables
        self._models = models
        self._now = now
        self._budgets = tables.of(BUDGETS, "budget_id")
        self._teams = tables.of(TEAMS, "team_id")
        self._users = tables.of(USERS, "user_id")
        self._notes: list[Note] = []

    def records(self) -> Iterator[Record]:
        """Organizations and users first, then the keys that name them."""
        read = (
            (TEAMS, "team_id", self._team),
            (ORGANIZATIONS, "organization_id", self._organization),
            (USERS, "user_id", self._user),
            (KEYS, "token", self._key),
        )
        for table, ident, make in read:
            for row in self._tables.rows.get(table, ()):
                try:
                    record = make(row)
                except ValueError as error:
                    yield Mistake(table, _shown(row, ident), str(error))
                else:
                    if record is not None:
                        yield record
        for row in self._tables.rows.get(MEMBERS, ()):
            if row["budget_id"]:
                self._note("a member's budget within a team: has no counterpart", row["user_id"])
        yield from self._notes

    def organizations(self) -> Mapping[str, str]:
        """By the digest of a key the organization that its usage counts for."""
        owners = {
            str(row["token"]): row["team_id"] or row.get("organization_id")
            for row in self._tables.rows.get(KEYS, ())
        }
        return {
            token: fields.ident("team_id", owner)
            for token, owner in owners.items()
            if owner and owner != DASHBOARD_TEAM
        }

    def _team(self, row: Row) -> Record | None:
        team = fields.ident("team_id", row["team_id"])
        if row["team_id"] == DASHBOARD_TEAM:
            return None
        if row.get("organization_id"):
            self._note(
                "a team of an organization: only the team's limits count here, as its organization", team
            )
        return Organization(team, self._limits(row, team))

    def _organization(self, row: Row) -> Record | None:
        ident = fields.ident("organization_id", row["organization_id"])
        budget = self._budgets.get(str(row["budget_id"]), {})
        has_teams = any(
            team.get("organization_id") == row["organization_id"] for team in self._teams.values()
        )
        if has_teams and any(budget.get(name) is not None for name in LIMIT_COLUMNS):
            self._note("limits of an organization with teams: count for no team here", ident)
        return Organization(ident, self._limits(row, ident))

    def _user(self, row: Row) -> Record | None:
        if row["user_id"] == PROXY_USER:
            if row.get("max_budget") is not None:
                self._note("the whole proxy's budget: has no counterpart; see alerts.budget_usd", PROXY_USER)
            return None
        user = fields.ident("user_id", row["user_id"])
        if user != row["user_id"]:
            self._note(
                "an id with other characters than ids have here: got another one",
                f"{row['user_id']} is {user}",
            )
        limits = self._limits(row, user)
        if limits.budget_nano_usd is not None:
            self._note("a user's budget: counts here for the keys of teams too", user)
        return User(user, limits)

    def _key(self, row: Row) -> Record | None:
        if row["team_id"] == DASHBOARD_TEAM:
            self._note("a session of LiteLLM's dashboard: is not imported", _shown(row, "token"))
            return None
        token = str(row["token"])
        if not HASH.fullmatch(token) and not token.startswith("sk-"):
            raise ValueError(
                "token: expected the SHA-256 of a key in hex; make this key anew there, or delete it"
            )
        if (routes := row.get("allowed_routes")) and MODEL_ROUTES not in routes:
            raise ValueError(
                f"allowed_routes: here a key may call every route of models; allow {MODEL_ROUTES}, or delete it"
            )
        name = str(row.get("key_alias") or row.get("key_name") or _shown(row, "token"))
        owner = row["team_id"] or row.get("organization_id")
        models, reachable = self._allowed(row, name)
        blocked = row.get("blocked") or self._teams.get(str(row["team_id"]), {}).get("blocked")
        if blocked:
            self._note("a blocked key: is revoked here, for good", name)
        changed = fields.moment_or_none("updated_at", row.get("updated_at")) or self._now
        return Key(
            ref=token,
            secret="" if HASH.fullmatch(token) else token,
            sha256=bytes.fromhex(token) if HASH.fullmatch(token) else b"",
            hint=fields.text("key_name", row.get("key_name"))[-4:],
            user_id=fields.ident("user_id", row["user_id"]) or None,
            organization_id=fields.ident("team_id", owner) or None,
            models=models,
            limits=self._limits(row, name),
            created_at=fields.moment_or_none("created_at", row.get("created_at")),
            expires_at=fields.moment_or_none("expires", row["expires"]),
            revoked_at=changed if blocked or not reachable else None,
            metadata=self._metadata(row, name),
        )

    def _allowed(self, row: Row, name: str) -> tuple[Sequence[str], bool]:
        """The models of a key, none for all of them; and whether there is any at all."""
        names = list(row["models"] or ())
        if row["team_id"]:
            above = self._models.scope(self._teams.get(str(row["team_id"]), {}).get("models") or ())
        else:
            users = self._users.get(str(row["user_id"]), {}).get("models") or ()
            above = frozenset() if "no-default-models" in users else self._models.scope(users)
        own = above if "all-team-models" in names else self._models.scope(names)
        allowed = within(own, above)
        if allowed is None:
            return (), True
        if not allowed:
            self._note("a key that reaches no model there: is revoked here", name)
        if len(allowed) > MOST_MODELS:
            raise ValueError(
                f"models: {len(allowed)}; a key here names at most {MOST_MODELS}: allow all there, and less by a plan"
            )
        for unknown in self._models.unknown(allowed):
            self._note(
                "a model that litellm_config.yaml has not: stays in the list of the key",
                f"{unknown} of {name}",
            )
        return sorted(allowed), bool(allowed)

    def _limits(self, row: Row, subject: str) -> Limits:
        """What the row itself says, and where it says nothing the budget that it names."""
        named = self._budgets.get(str(row.get("budget_id")), {})
        for column in WITHOUT_COUNTERPART:
            if row.get(column) or named.get(column):
                self._note(f"{column}: has no counterpart", subject)
        rpm, tpm, parallel, most, duration = (
            row[column] if row.get(column) is not None else named.get(column)
            for column in ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget", "budget_duration")
        )
        length, same = period("budget_duration", duration)
        if most is not None and not same:
            self._note(
                f"budget_duration {duration}: is {length} here, the shortest that is not shorter", subject
            )
        return Limits(
            rpm_limit=fields.limit("rpm_limit", rpm),
            tpm_limit=fields.limit("tpm_limit", tpm),
            parallel_limit=fields.limit("max_parallel_requests", parallel),
            budget_nano_usd=fields.budget("max_budget", most),
            budget_period=length,
        )

    def _metadata(self, row: Row, name: str) -> Mapping[str, Any]:
        found = fields.mapping("metadata", row["metadata"])
        for secret in SECRET_METADATA:
            if found.pop(secret, None):
                self._note(f"metadata.{secret}: may hold passwords and is left out", name)
        for limit in LIMITING_METADATA:
            if found.get(limit):
                self._note(f"metadata.{limit}: is kept, and limits nothing here", name)
        if row.get("key_alias"):
            found.setdefault("alias", row["key_alias"])
        if len(json.dumps(found)) > MOST_METADATA:
            raise ValueError(f"metadata: longer than {MOST_METADATA:,} bytes; shorten it there")
        return found

    def _note(self, text: str, subject: Any) -> None:
        self._notes.append(Note(text, str(subject)))


def _shown(row: Row, ident: str) -> str:
    """Which row it is, for people; of a key's digest no more than tells it apart, and of a key nothing at all."""
    if ident != "token":
        return str(row[ident])
    name = row.get("key_alias") or row.get("key_name") or "without a name"
    return f"{name} ({row[ident][:8]}...)" if HASH.fullmatch(str(row[ident])) else str(name)

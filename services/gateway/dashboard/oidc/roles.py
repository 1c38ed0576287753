"""What somebody is at the page, by what the provider says of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.gateway.dashboard.oidc.settings import Settings
from services.gateway.dashboard.session import Role

# Characters of a name that are kept.
LONGEST_NAME = 128


def role(claims: Mapping[str, Any], settings: Settings) -> Role | None:
    """The role that the claims give; None where they give none."""
    values = _values(claims, settings.role_claim)
    # Some providers let their users claim any address.
    if settings.role_claim == "email" and claims.get("email_verified") is not True:
        values = ()
    if set(values) & set(settings.admins):
        return Role.ADMIN
    if "*" in settings.viewers or set(values) & set(settings.viewers):
        return Role.VIEWER
    return None


def name(claims: Mapping[str, Any]) -> str:
    """What somebody is called in the list of changes: what nobody can choose to be somebody else's."""
    known_by = "email" if claims.get("email_verified") is True else "sub"
    for claim in (known_by, "sub"):
        value = claims.get(claim)
        if isinstance(value, str) and value and value.isprintable():
            return value[:LONGEST_NAME]
    return "somebody"


def _values(claims: Mapping[str, Any], path: str) -> Sequence[str]:
    """The texts of a claim, which may lie inside of others; a name with dots of its own is tried first."""
    value: Any = claims
    for part in (path,) if path in claims else path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str)]

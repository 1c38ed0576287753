"""Which provider of OpenID Connect may sign people in at the page, and who is what."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from services.chassis.config import Secret, variable

# Where a browser may be sent without TLS: for trying things out on one machine.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """Nobody signs in this way without an issuer."""

    issuer: str = variable(
        "LUMNI_OIDC_ISSUER",
        "",
        "OpenID Connect provider that signs people in at /dashboard, as https://login.example.com; none by default",
    )
    client_id: str = variable("LUMNI_OIDC_CLIENT_ID", "", "what the provider calls this gateway")
    client_secret: Secret = variable(
        "LUMNI_OIDC_CLIENT_SECRET", Secret(""), "its secret there; another one ends all sessions of its users"
    )
    public_url: str = variable(
        "LUMNI_OIDC_PUBLIC_URL",
        "",
        "where browsers reach the gateway, such as https://llm.example.com; the provider must allow "
        "/dashboard/sign-in/oidc/callback there as redirect URI",
    )
    scopes: tuple[str, ...] = variable(
        "LUMNI_OIDC_SCOPES", ("openid", "email"), "what the provider is asked for"
    )
    role_claim: str = variable(
        "LUMNI_OIDC_ROLE_CLAIM",
        "groups",
        "claim of the id token that says what somebody is; dots lead into objects, as in realm_access.roles",
    )
    admins: tuple[str, ...] = variable(
        "LUMNI_OIDC_ADMINS", (), "values of that claim that make an admin of the page"
    )
    viewers: tuple[str, ...] = variable(
        "LUMNI_OIDC_VIEWERS",
        (),
        "values of that claim that let somebody read; * is all users of the provider",
    )

    def __post_init__(self) -> None:
        if not self.issuer:
            if self.client_id or self.client_secret or self.public_url or self.admins or self.viewers:
                raise ValueError("LUMNI_OIDC_ISSUER: is not set, but other variables of LUMNI_OIDC are")
            return
        for name, address in (("ISSUER", self.issuer), ("PUBLIC_URL", self.public_url)):
            if not _is_safe(address):
                raise ValueError(
                    f"LUMNI_OIDC_{name}: expected an address that begins with https:// "
                    "(http:// for this machine alone) and has no query"
                )
        for name, value in (("CLIENT_ID", self.client_id), ("CLIENT_SECRET", self.client_secret)):
            if not value:
                raise ValueError(f"LUMNI_OIDC_{name}: is not set, but LUMNI_OIDC_ISSUER is")
        if "openid" not in self.scopes:
            raise ValueError("LUMNI_OIDC_SCOPES: expected openid among them")
        if not self.admins and not self.viewers:
            raise ValueError("LUMNI_OIDC_ADMINS, LUMNI_OIDC_VIEWERS: expected one of them, or nobody gets in")
        if "*" in self.admins:
            raise ValueError("LUMNI_OIDC_ADMINS: * is for LUMNI_OIDC_VIEWERS alone; name the values")

    @property
    def host(self) -> str:
        """The provider, as people know it."""
        return urlsplit(self.issuer).netloc


def _is_safe(address: str) -> bool:
    """Whether a browser, or a secret, may be sent there."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    plain = parts.scheme == "http" and host in LOOPBACK
    return bool(host) and (parts.scheme == "https" or plain) and not (parts.query or parts.fragment)

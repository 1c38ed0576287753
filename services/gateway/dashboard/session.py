"""Who is signed in: a session is a cookie that only this installation can make.

Nothing is stored. A session ends with its time, and with the key that opened it: the cookie is encrypted and signed
under a key that is derived from that one, so whoever takes a key out of LUMNI_ADMIN_KEY or LUMNI_VIEWER_KEY ends all
sessions that it opened. For somebody whom a provider of OpenID Connect has signed in that key is
LUMNI_OIDC_CLIENT_SECRET.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.chassis.config import Secret, Secrets
from services.gateway.keys.permissions import ADMIN

# Separates this use of a key from any other.
PURPOSE = b"lumni dashboard v1 "
PROVIDER_PURPOSE = b"lumni dashboard of a provider v1 "
# Characters of a cookie of ours at most; a longer one is not looked at.
LONGEST = 1024
# Bytes of chance in the token that forms carry.
TOKEN = 24


class Role(StrEnum):
    """What somebody who signed in may do."""

    # Reads everything and changes keys.
    ADMIN = "admin"
    # Reads what no key is shown in, and changes nothing.
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in."""

    role: Role
    # What each form of this session carries, so that no other site can send one.
    token: str
    # Who it is, as the provider says; empty for whoever has shown a key.
    name: str = ""
    # What opened it; empty for somebody whom a provider has signed in.
    key: Secret = field(default=Secret(""), repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether keys may be changed."""
        return self.role is Role.ADMIN

    @property
    def actor(self) -> str:
        """Who it is in the list of changes."""
        return f"{ADMIN}:{self.name}" if self.name else ADMIN

    def sent(self, token: str) -> bool:
        """Whether a form of this session carries this token."""
        return hmac.compare_digest(self.token.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """Makes and reads the cookies."""

    def __init__(
        self,
        keys: Mapping[Role, Secrets],
        salt: Secrets,
        lasts_s: int,
        *,
        provider_secret: Secret = Secret(""),
        now: Callable[[], float] = time.time,
    ) -> None:
        """Accept these keys.

        Args:
            keys: What opens a session of each role, each of those accepted; an empty one opens none.
            salt: LUMNI_KEY_SECRET, without which no cookie tells anything of the key that it was made with; with
                several, the first is for new cookies.
            lasts_s: Seconds from sign-in to the end.
            provider_secret: What is shared with the provider that signs people in; empty where there is none.
            now: Seconds since 1970.
        """
        self._keys = [(role, key) for role, accepted in keys.items() for key in accepted.accepted]
        # By role and the key that opened the session, which is empty where a provider has signed somebody in.
        self._boxes = {(role, key): _box(PURPOSE + role.encode(), key, salt) for role, key in self._keys}
        if provider_secret:
            for role in Role:
                purpose = PROVIDER_PURPOSE + role.encode()
                self._boxes[role, Secret("")] = _box(purpose, provider_secret, salt)
        self._provider_secret, self._salt = provider_secret, salt
        self._now = now
        self.lasts_s = lasts_s

    def open(self, key: str) -> Session | None:
        """The session that a key opens; None where it opens none."""
        for role, known in self._keys:
            if hmac.compare_digest(known.reveal().encode(), key.encode("utf-8", "replace")):
                return Session(role, secrets.token_urlsafe(TOKEN), key=known)
        return None

    def of_provider(self, role: Role, name: str) -> Session:
        """The session of somebody whom the provider has signed in."""
        return Session(role, secrets.token_urlsafe(TOKEN), name)

    def provider_box(self, purpose: bytes) -> MultiFernet:
        """What encrypts for another purpose under the secret that is shared with the provider."""
        return _box(purpose, self._provider_secret, self._salt)

    def cookie(self, session: Session) -> str:
        """The value of a session's cookie."""
        box = self._boxes[session.role, session.key]
        return box.encrypt_at_time(f"{session.token} {session.name}".encode(), int(self._now())).decode()

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None where it has ended, or was never ours."""
        if not cookie or len(cookie) > LONGEST:
            return None
        for (role, key), box in self._boxes.items():
            try:
                text = box.decrypt_at_time(cookie.encode(), self.lasts_s, int(self._now()))
            except (InvalidToken, ValueError):
                continue
            token, _, name = text.decode().partition(" ")
            return Session(role, token, name, key)
        return None


def _box(purpose: bytes, key: Secret, salts: Secrets) -> MultiFernet:
    derived = (
        HKDF(SHA256(), 32, salt=salt.encode() or None, info=purpose).derive(key.reveal().encode())
        for salt in [one.reveal() for one in salts.accepted] or [""]
    )
    return MultiFernet(Fernet(base64.urlsafe_b64encode(one)) for one in derived)

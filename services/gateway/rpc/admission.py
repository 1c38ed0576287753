"""Who calls over gRPC: authenticated by the metadata, before the message is read."""

import time
from contextvars import ContextVar

from services.chassis import rpc
from services.gateway.keys.authenticator import Authenticator, bearer, check_admin
from services.gateway.keys.permissions import Caller

# Who makes the current call.
caller: ContextVar[Caller] = ContextVar("caller")
# When its key was checked: the beginning and the end, in nanoseconds since 1970.
checked: ContextVar[tuple[int, int]] = ContextVar("checked")


def by_key(keys: Authenticator) -> rpc.Admit:
    """Admits calls that show a good key, and notes whose it is; a message is its tenant's."""

    async def admit(metadata: rpc.Metadata) -> str:
        began_ns = time.time_ns()
        shown = [str(value) for name, value in metadata if name == "authorization"]
        found = await keys.caller(bearer(shown))
        caller.set(found)
        checked.set((began_ns, time.time_ns()))
        return found.tenant

    return admit


def admin() -> str:
    """The id of the admin's key that makes the current call.

    Raises:
        Forbidden: the key is good, but no admin's.
    """
    return check_admin(caller.get()).key_id

"""Who calls over gRPC: authenticated by the metadata, before the message is read."""

from contextvars import ContextVar

from services.chassis import rpc
from services.gateway.keys.authenticator import Authenticator, bearer
from services.gateway.keys.permissions import Caller

# Who makes the current call.
caller: ContextVar[Caller] = ContextVar("caller")


def by_key(keys: Authenticator) -> rpc.Admit:
    """Admits calls that show a good key, and notes whose it is."""

    async def admit(metadata: rpc.Metadata) -> None:
        shown = [str(value) for name, value in metadata if name == "authorization"]
        caller.set(await keys.caller(bearer(shown)))

    return admit

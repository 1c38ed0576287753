"""Redis by TLS, with certificates of both sides. A proxy speaks it, because the Valkey of the wheel does not."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from services.chassis import redis
from tests.chassis import certificates


@asynccontextmanager
async def terminating(context: ssl.SSLContext, port: int) -> AsyncIterator[int]:
    """A proxy that speaks TLS with clients and not with the server at `port`; yields its own port."""

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while read := await source.read(65536):
                target.write(read)
                await target.drain()
        except OSError:
            # Whoever leaves first may do so by a reset.
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_certificates_of_both_sides_are_checked(valkey: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificates.write(tmp_path / "own", authority.issue_cert("localhost"), authority)
    own = certificates.settings(tmp_path / "own")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=own.tls_ca)
    context.load_cert_chain(own.tls_cert, own.tls_key)
    context.verify_mode = ssl.CERT_REQUIRED
    user, _, rest = valkey.removeprefix("redis://").rpartition("@")
    port = int(rest.partition("/")[0].rpartition(":")[2])
    async with terminating(context, port) as tls_port:
        address = f"rediss://{user}@localhost:{tls_port}?ssl_ca_certs={own.tls_ca}"
        shown = f"{address}&ssl_certfile={own.tls_cert}&ssl_keyfile={own.tls_key}"
        async with redis.connect(shown, timeout_s=10) as client:
            assert [b"OK", b"1"] == await redis.exchange(client, [("SET", "k", 1), ("GET", "k")])
        for refused in (address, shown.replace(f"ssl_ca_certs={own.tls_ca}&", "")):
            async with redis.connect(refused, timeout_s=10) as client:
                with pytest.raises(redis.ERRORS):
                    await client.get("k")

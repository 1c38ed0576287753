"""Services know each other by certificates, which are replaced while calls run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography import x509
from lumni.executor.v1 import executor_pb2 as pb
from lumni.executor.v1 import executor_pb2_grpc as pb_grpc

from services.chassis import errors, rpc
from services.chassis.background import beside
from services.chassis.config import Mistakes
from services.chassis.rpc.certificates import CertificateFiles
from services.local.ports import free as free_port
from tests.chassis import certificates

NAME = "lumni.executor.v1.ExecutorService"


class Speaker(pb_grpc.ExecutorServiceServicer):
    """Answers at once, or in a stream that goes on as long as it is let."""

    def __init__(self) -> None:
        self.last = asyncio.Event()
        # The newest caller's certificate.
        self.seen = b""

    async def Execute(self, request: pb.ExecuteRequest, context: Any) -> pb.ExecuteResponse:
        (self.seen,) = context.auth_context()["x509_pem_cert"]
        return pb.ExecuteResponse()

    async def StreamExecute(
        self, request: pb.StreamExecuteRequest, context: object
    ) -> AsyncIterator[pb.StreamExecuteResponse]:
        yield pb.StreamExecuteResponse(chunks=pb.Chunks(chunk_json=["first"]))
        await self.last.wait()
        yield pb.StreamExecuteResponse(chunks=pb.Chunks(chunk_json=["last"]))

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: object
    ) -> pb.ListDeploymentsResponse:
        return pb.ListDeploymentsResponse()


class Side(NamedTuple):
    """A service's own folder of certificates."""

    folder: Path
    settings: rpc.Settings


def side(folder: Path, authority: trustme.CA, *, connection_age_s: float = 60.0) -> Side:
    certificates.write(folder, authority.issue_cert("localhost"), authority)
    return Side(folder, certificates.settings(folder, connection_age_s=connection_age_s))


@asynccontextmanager
async def speaking(settings: rpc.Settings, speaker: Speaker) -> AsyncIterator[str]:
    service = rpc.Service(NAME, pb_grpc.add_ExecutorServiceServicer_to_server, speaker)
    async with rpc.serve("localhost:0", settings, [service]) as address:
        yield address


async def asked(address: str, settings: rpc.Settings) -> str:
    """What a client with these certificates gets, over a connection of its own: ok, or the reason of a refusal."""
    async with rpc.connect(address, settings, NAME, repeatable=False) as channel:
        stub = pb_grpc.ExecutorServiceStub(channel)
        try:
            await rpc.call(stub.Execute, pb.ExecuteRequest(), settings, timeout_s=30)
        except errors.Fault as fault:
            return type(fault).__name__
        return "ok"


async def shown(speaker: Speaker, client: Side, call: Callable[[], Awaitable[object]]) -> None:
    """Call until the server sees the certificate that is in the client's folder now."""
    wanted = x509.load_pem_x509_certificate((client.folder / "tls.crt").read_bytes())
    while not speaker.seen or wanted != x509.load_pem_x509_certificate(speaker.seen):
        await call()
        await asyncio.sleep(0.01)


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


async def test_only_clients_with_a_certificate_of_the_authority_are_let_in(tmp_path: Path) -> None:
    authority, foreign = trustme.CA(), trustme.CA()
    server, client = side(tmp_path / "server", authority), side(tmp_path / "client", authority)
    # It believes the server, and is not believed.
    certificates.write(tmp_path / "foreign", foreign.issue_cert("localhost"), authority)

    async with speaking(server.settings, Speaker()) as address:
        assert "ok" == await asked(address, client.settings)
        assert "Unavailable" == await asked(address, certificates.settings(tmp_path / "foreign"))
        assert "Unavailable" == await asked(address, rpc.Settings())


async def test_a_server_with_a_certificate_of_another_authority_or_name_is_not_called(tmp_path: Path) -> None:
    authority, foreign = trustme.CA(), trustme.CA()
    client = side(tmp_path / "client", authority)
    certificates.write(tmp_path / "foreign", foreign.issue_cert("localhost"), authority, foreign)
    certificates.write(tmp_path / "named", authority.issue_cert("executor.elsewhere"), authority)

    for folder in ("foreign", "named"):
        async with speaking(certificates.settings(tmp_path / folder), Speaker()) as address:
            assert "Unavailable" == await asked(address, client.settings), folder


async def test_authority_and_certificates_are_replaced_while_calls_run_and_none_fails(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    # Connections end soon, so that new ones are made all the time.
    server = side(tmp_path / "server", old, connection_age_s=0.3)
    client, late = side(tmp_path / "client", old), side(tmp_path / "late", old)
    answered, failed = 0, list[str]()
    speaker = Speaker()

    async with speaking(server.settings, speaker) as address:
        async with rpc.connect(address, client.settings, NAME, repeatable=False) as channel:
            stub = pb_grpc.ExecutorServiceStub(channel)

            async def call() -> None:
                nonlocal answered
                try:
                    await rpc.call(stub.Execute, pb.ExecuteRequest(), client.settings, timeout_s=30)
                    answered += 1
                except errors.Fault as fault:
                    failed.append(repr(fault.__cause__))

            async def calling() -> None:
                while True:
                    await call()
                    await asyncio.sleep(0.005)

            stream = rpc.stream(stub.StreamExecute, pb.StreamExecuteRequest(), client.settings, timeout_s=120)
            chunks = [await anext(stream)]
            async with beside(calling()), beside(calling()):
                # First everybody believes both, then shows a certificate of the new one, then believes it alone.
                certificates.write(client.folder, old.issue_cert("localhost"), old, new)
                await shown(speaker, client, call)
                certificates.write(server.folder, new.issue_cert("localhost"), old, new)
                certificates.write(client.folder, new.issue_cert("localhost"), old, new)
                await shown(speaker, client, call)
                certificates.write(server.folder, new.issue_cert("localhost"), new)
                certificates.write(client.folder, new.issue_cert("localhost"), new)
                await shown(speaker, client, call)
            speaker.last.set()
            chunks += [chunk async for chunk in stream]

        # Its certificate was good when the server started.
        certificates.write(late.folder, old.issue_cert("localhost"), old, new)
        assert "Unavailable" == await asked(address, late.settings)

    assert [] == failed
    assert answered
    assert ["first", "last"] == [text for chunk in chunks for text in chunk.chunks.chunk_json]


async def test_a_certificate_that_the_server_refuses_is_not_shown_until_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.chassis.rpc.rotation.READY_S", 0.5)
    old, new = trustme.CA(), trustme.CA()
    server, client = side(tmp_path / "server", old), side(tmp_path / "client", old)

    speaker = Speaker()
    async with speaking(server.settings, speaker) as address:
        async with rpc.connect(address, client.settings, NAME, repeatable=False) as channel:
            stub = pb_grpc.ExecutorServiceStub(channel)

            async def call() -> None:
                await rpc.call(stub.Execute, pb.ExecuteRequest(), client.settings, timeout_s=30)

            await shown(speaker, client, call)
            certificates.write(client.folder, new.issue_cert("localhost"), old, new)
            await until(lambda: "no server took a connection" in caplog.text)
            await call()
            certificates.write(server.folder, old.issue_cert("localhost"), old, new)
            await shown(speaker, client, call)


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    own = side(tmp_path / "own", authority)
    other = authority.issue_cert("localhost")
    (own.folder / "tls.key").unlink()
    with pytest.raises(Mistakes, match=r"tls\.key"):
        CertificateFiles(own.settings)
    (own.folder / "tls.key").write_bytes(other.private_key_pem.bytes())
    with pytest.raises(Mistakes, match=r"tls\.crt is no certificate of the key in .*tls\.key"):
        CertificateFiles(own.settings)
    (own.folder / "tls.crt").unlink()
    (own.folder / "tls.crt").write_bytes(other.cert_chain_pems[0].bytes())
    CertificateFiles(own.settings)
    (own.folder / "ca.crt").unlink()
    (own.folder / "ca.crt").write_text("nothing")
    with pytest.raises(Mistakes, match=r"ca\.crt holds no certificate of an authority"):
        CertificateFiles(own.settings)


def test_a_certificate_is_in_force_once_its_key_is_there_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    own = side(tmp_path / "own", authority)
    files = CertificateFiles(own.settings)
    first, second = files.current(), authority.issue_cert("localhost")
    assert first is files.current()

    for name in ("tls.crt", "tls.key"):
        (own.folder / name).unlink()
    (own.folder / "tls.crt").write_bytes(second.cert_chain_pems[0].bytes())
    assert first is files.current()
    assert "the certificate read before is used" in caplog.text
    (own.folder / "tls.key").write_bytes(second.private_key_pem.bytes())
    assert second.private_key_pem.bytes() == files.current().key


async def test_probes_need_no_certificate_at_an_address_that_answers_nothing_else(tmp_path: Path) -> None:
    own = side(tmp_path / "own", trustme.CA())
    probed = f"127.0.0.1:{free_port()}"
    settings = rpc.Settings(
        tls_cert=own.settings.tls_cert,
        tls_key=own.settings.tls_key,
        tls_ca=own.settings.tls_ca,
        health_listen=probed,
    )

    async with speaking(settings, Speaker()):
        async with rpc.connect(probed, rpc.Settings(), "", repeatable=False) as channel:
            assert await rpc.healthy(channel, NAME, rpc.Settings(), timeout_s=30)
            with pytest.raises(errors.Fault) as caught:
                stub = pb_grpc.ExecutorServiceStub(channel)
                await rpc.call(stub.Execute, pb.ExecuteRequest(), rpc.Settings(), timeout_s=30)
    assert isinstance(caught.value, errors.Internal)
    with pytest.raises(ValueError, match="LUMNI_HEALTH_LISTEN"):
        rpc.Settings(health_listen=probed)

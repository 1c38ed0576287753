"""The metric of the certificate's end follows its file."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import trustme
from prometheus_client import REGISTRY

from services.chassis.background import beside
from services.gateway import certificates


async def test_the_metric_says_when_the_certificate_expires_that_is_in_the_file_now(tmp_path: Path) -> None:
    authority = trustme.CA()
    file = tmp_path / "tls.crt"

    async def shown(expires: datetime) -> None:
        while REGISTRY.get_sample_value("lumni_certificate_expires_timestamp_seconds") != expires.timestamp():
            await asyncio.sleep(0.01)

    def write(expires: datetime) -> None:
        leaf = authority.issue_cert("localhost", not_after=expires)
        file.write_bytes(leaf.cert_chain_pems[0].bytes())

    write(datetime(2031, 1, 1, tzinfo=UTC))
    async with beside(certificates.show_expiry(str(file), every_s=0.01)):
        await shown(datetime(2031, 1, 1, tzinfo=UTC))
        write(datetime(2032, 2, 2, tzinfo=UTC))
        await shown(datetime(2032, 2, 2, tzinfo=UTC))

"""A short run of the attacks that `python -m tests.attacks` makes at length."""

from pathlib import Path

import pytest

from tests.attacks import mixed

# Each script has one round at least, however few they are.
SECONDS = 5


# Its parts end by themselves when nothing moves any more.
@pytest.mark.timeout(900)
async def test_every_attack_holds_beside_honest_clients_and_every_bill_is_right(servers_folder: Path) -> None:
    folder = servers_folder / "attacks"
    folder.mkdir(mode=0o711)
    attacks = mixed.scripts()

    report = await mixed.run(folder, SECONDS, attacks, alone_s=1)

    assert [] == report.wrong
    assert {one.NAME for one in attacks} == set(report.held)
    assert report.alone
    assert report.attacked
    assert report.bills.rows["final"] > 0

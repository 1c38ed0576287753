"""A short run of the faults that `python -m tests.faults` injects at length."""

from pathlib import Path

import pytest

from tests.faults.run import MIXED, run


# Its parts end by themselves when nothing moves any more.
@pytest.mark.timeout(900)
# A caller who gives up while its client connects may leave the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("executors", "name", "rounds", "a_round"),
    # Together a gateway dies with its executor; what stores lose is lost alike.
    [(1, "mixed", len(MIXED), 24), (0, "gateway-killed", 1, 48)],
    ids=["apart", "together"],
)
async def test_whatever_is_killed_or_emptied_every_bill_is_right(
    servers_folder: Path, executors: int, name: str, rounds: int, a_round: int
) -> None:
    folder = servers_folder / f"faults-{executors}"
    folder.mkdir(mode=0o711)

    load, found = await run(
        folder,
        name,
        a_round * rounds,
        seed=5,
        gateways=2,
        executors=executors,
        ledgers=1,
        a_round=a_round,
    )

    assert [] == found.problems
    assert load.endings["200"] > 0
    assert found.rows["final"] > 0
    assert found.rows["partial"] + found.rows["unknown"] == len(found.inexact) > 0

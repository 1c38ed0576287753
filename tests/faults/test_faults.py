"""A short run of the faults that `python -m tests.faults` strikes at length."""

from pathlib import Path

from tests.faults.run import run


async def test_whatever_is_killed_or_emptied_every_bill_is_right(servers_folder: Path) -> None:
    folder = servers_folder / "faults"
    folder.mkdir(mode=0o711)

    load, found = await run(
        folder, "anything", 120, seed=5, gateways=2, executors=1, ledgers=1, pause_s=(0.2, 0.8)
    )

    assert [] == found.problems
    assert load.endings["200"] > 0
    assert found.rows["final"] > 0
    assert found.rows["partial"] + found.rows["unknown"] == len(found.unsure) > 0

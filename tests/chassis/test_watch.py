"""A change of a file is seen once."""

import os
from pathlib import Path

from services.chassis.watch import Watch


def test_a_change_is_seen_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("1")
    watch = Watch(first, second)
    assert not watch.changed()

    second.write_text("new")
    assert watch.changed()
    assert not watch.changed()

    os.utime(first, ns=(0, 0))
    assert watch.changed()
    first.unlink()
    assert watch.changed()
    assert not watch.changed()


async def test_changes_come_as_items(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("1")
    changes = Watch(path).changes(every_s=0.001)
    path.write_text("two")

    await anext(changes)

    await changes.aclose()

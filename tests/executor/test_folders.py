"""The executor's folders depend on each other in one direction, as docs/executor.md says."""

from pathlib import Path

import pytest

from tests.test_architecture import imports

EXECUTOR = Path(__file__).parents[2] / "services" / "executor"
MAY_IMPORT: dict[str, set[str]] = {
    "engines": set(),
    "formats": {"engines"},
    "attempts": {"engines", "formats"},
    "capacity": {"engines", "formats", "attempts"},
    "events": {"engines", "formats", "attempts"},
}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_those_below_it(folder: str) -> None:
    allowed = {"services.chassis", *(f"services.executor.{one}" for one in MAY_IMPORT[folder] | {folder})}
    for path in (EXECUTOR / folder).glob("*.py"):
        for name in imports(path):
            if name.startswith("services.") and name != "services.executor":
                assert ".".join(name.split(".")[:3]).startswith(tuple(allowed)), f"{path.name}: {name}"


def test_every_folder_has_its_order() -> None:
    assert MAY_IMPORT.keys() == {path.parent.name for path in EXECUTOR.glob("*/__init__.py")}

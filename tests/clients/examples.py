"""How each file of examples/clients is run: by the program and in the environment that it needs."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.clients.environments import NODE, PYTHON, Environment
from tests.tools import ROOT, Absent, find_or_skip

FOLDER = ROOT / "examples" / "clients"
NAMES = sorted(path.name for path in FOLDER.glob("*.*") if path.suffix in (".py", ".mjs", ".sh"))
# The SDKs that the project's own environment has.
OURS = ("openai_python", "anthropic_python")


def command(name: str, folder: Path, variables: dict[str, str]) -> tuple[list[str | Path], dict[str, str]]:
    """What runs an example with variables, and these with what it needs besides; a test that cannot is skipped.

    Args:
        name: Of the file.
        folder: An empty one, for what is run beside its packages.
        variables: Of the environment, `PATH` among them.
    """
    path = FOLDER / name
    if path.suffix == ".mjs":
        beside_packages(folder, [path])
        return ["node", folder / name], variables
    if path.suffix == ".sh":
        program = find_or_skip(path.stem)
        return ["sh", path], {**variables, "PATH": f"{program.parent}:{variables['PATH']}"}
    if path.stem in OURS:
        return [sys.executable, path], variables
    return [found_or_skip(PYTHON) / ".venv" / "bin" / "python", path], variables


def beside_packages(folder: Path, scripts: Iterable[Path]) -> None:
    """Copy scripts beside the packages of Node that are in the environment: they are looked for there."""
    for path in scripts:
        shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(found_or_skip(NODE) / "node_modules")


def found_or_skip(environment: Environment) -> Path:
    """The folder of an environment; a test that needs an absent one is skipped, saying why."""
    try:
        return environment.find()
    except Absent as absent:
        pytest.skip(str(absent))

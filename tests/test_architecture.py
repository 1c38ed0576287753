"""The map of the house, kept true by a test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICES = Path(__file__).parent.parent / "services"
ROOMS = ("chassis", "classifier", "selector", "executor", "gateway", "local")
STACK = (
    "grpc",
    "grpc_status",
    "grpc_health",
    "grpc_reflection",
    "google.rpc",
    "lumni",
    "asyncpg",
    "redis",
    "litellm",
)
# The cores: modules named after what their room is for, which know nothing of wires, stores and providers.
CORES = {
    "chassis": ("batching", "errors", "config", "prices", "deployments", "yaml"),
    "classifier": ("features", "heads", "embedding", "training/holdout"),
    "selector": ("ranking/rank", "ranking/free_tier", "models/catalog"),
    "executor": (
        "attempts/attempt",
        "attempts/billing",
        "attempts/faults",
        "attempts/model",
        "attempts/retry",
        "attempts/run",
        "capacity/breaker",
        "capacity/gate",
        "capacity/quotas",
        "capacity/rate_headers",
        "capacity/slots",
        "formats/base",
        "formats/chat",
        "formats/embeddings",
        "formats/factory",
        "formats/messages",
        "formats/responses",
    ),
    "gateway": ("request_ids", "config/plans", "config/budgets"),
}


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(room: str) -> list[Path]:
    return sorted((SERVICES / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_opens_only_onto_the_chassis(room: str) -> None:
    allowed = ("services.chassis", f"services.{room}")
    for path in files(room):
        for name in imports(path):
            if name.startswith("services."):
                assert name.startswith(allowed), f"{path}: {name}"


@pytest.mark.parametrize(("room", "core"), [(room, core) for room in CORES for core in CORES[room]])
def test_a_core_knows_nothing_of_wires_stores_and_providers(room: str, core: str) -> None:
    path = SERVICES / room / f"{core}.py"
    for name in imports(path):
        assert not any(name == outside or name.startswith(outside + ".") for outside in STACK), (
            f"{path}: {name}"
        )


def test_litellm_is_imported_only_by_the_executor() -> None:
    for path in SERVICES.rglob("*.py"):
        if "executor" not in path.parts:
            assert not any(name.split(".")[0] == "litellm" for name in imports(path)), path


def test_only_the_gateway_speaks_to_postgresql() -> None:
    for path in SERVICES.rglob("*.py"):
        if "gateway" not in path.parts and "local" not in path.parts:
            assert not any(name.split(".")[0] == "asyncpg" for name in imports(path)), path


def test_every_service_has_the_same_furniture() -> None:
    for room in ("classifier", "selector", "executor", "gateway"):
        for name in ("__init__", "__main__", "rpc/servicer" if room == "gateway" else "servicer"):
            assert (SERVICES / room / f"{name}.py").exists(), f"{room}/{name}.py"

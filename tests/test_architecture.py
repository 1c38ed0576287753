"""The rules of docs/architecture.md that a program can check."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from scripts import import_graph
from scripts.import_graph import ROOT, SERVICES, by_folder, by_module, imported, modules, parsed

ALL = ("chassis", "classifier", "selector", "executor", "gateway", "local")
WITH_RPC = ("classifier", "selector", "executor", "gateway")

# What a core does not know: wires, stores and providers.
OUTSIDE = (
    "asyncpg",
    "fastapi",
    "google",
    "grpc",
    "litellm",
    "lumni",
    "redis",
    "services.chassis.redis",
    "services.chassis.rpc",
    "services.gateway.postgres",
    "starlette",
    "uvicorn",
)
# The modules of a service that may know them; all others are cores.
EDGES = {
    "chassis": "lua published_health redis redis_cluster redis_connections redis_sentinel rpc rpc.certificates rpc.client rpc.credentials rpc.inproc rpc.interceptor rpc.keyless rpc.probe rpc.receiving rpc.rotation rpc.server rpc.service selection_messages status workers",
    "classifier": "__main__ servicer settings",
    "selector": "__main__ live.health live.learned_sync live.replica_sync message_bounds outcome_learning past_messages replay_servicer servicer settings",
    "executor": (
        "__main__ servicer settings attempts.messages capacity.health capacity.health_metrics capacity.prober capacity.redis_state engines.anthropic engines.cache_marks "
        "engines.direct engines.gemini engines.litellm_answers engines.litellm_errors engines.litellm_globals "
        "engines.litellm_sdk engines.openai engines.parameters engines.prepare engines.token_count engines.translation events.outbox events.stream"
    ),
}
# The gateway is made of wires and stores, so its cores are what is listed.
GATEWAY_CORES = """
    alerts.breaker_history alerts.budget_burn alerts.judge alerts.recent_requests
    cache.semantic.last_message cache.semantic.same_question cache.semantic.signature cache.semantic.wording
    cipher confidence
    config.alerts config.budgets config.plans config.switches
    conversations.conversation
    dashboard.assets dashboard.charts dashboard.formats dashboard.paged dashboard.periods dashboard.remembered
    dashboard.oidc.roles dashboard.oidc.settings
    dashboard.session dashboard.sign_in_limit
    evaluation.answers evaluation.checks evaluation.design evaluation.estimates evaluation.format_rules
    evaluation.grader evaluation.judge evaluation.pairwise evaluation.past_answers evaluation.report evaluation.results
    evaluation.runner evaluation.sandbox evaluation.sandbox_child evaluation.spending
    evaluation.summary evaluation.texts evaluation.verdicts
    experiments.assignment experiments.conclusion experiments.definition experiments.rollout experiments.statistics
    health.deployments
    imports.fields imports.litellm imports.litellm_spend imports.model_names imports.openrouter imports.periods
    imports.portkey imports.previous imports.records imports.spend_lines imports.summary
    learning.comparison learning.evidence learning.sums learning.turns
    keys.cache keys.digests keys.columns keys.permissions
    ledger.rows
    limits.adaptive_limit limits.admit_arguments limits.concurrency limits.fair_share limits.headers
    limits.local limits.mistakes limits.persistent limits.refusal
    prompts.content prompts.expansion prompts.files prompts.reference prompts.template prompts.variables
    recording.delivery recording.record recording.redaction recording.request_log recording.settings
    recording.span_texts
    replays.answer_lengths replays.comparison replays.request
    reports.time_range
    requests.assignment requests.cache_control requests.feedback_request requests.fields requests.hints requests.inputs requests.prompt_size
    requests.request_ids requests.system_text
    rest.connections
"""

LONGEST_FILE = 400
LONGEST_CLASS = 250
# Longer all the same, each for its reason.
LONGER: dict[str, str] = {}


def files(service: str) -> list[Path]:
    return sorted((SERVICES / service).rglob("*.py"))


@pytest.mark.parametrize("service", ALL)
def test_a_service_imports_only_itself_and_the_chassis(service: str) -> None:
    allowed = ("services.chassis", f"services.{service}")
    for path in files(service):
        strangers = [
            name for name in imported(path) if name.startswith("services.") and not name.startswith(allowed)
        ]
        assert not strangers, f"{path}: {strangers}"


def test_imports_are_absolute() -> None:
    for path in SERVICES.rglob("*.py"):
        relative = [
            node for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.level
        ]
        assert not relative, path


@pytest.mark.parametrize("service", ALL)
def test_no_imports_go_in_a_circle(service: str) -> None:
    assert list(TopologicalSorter(by_module(service)).static_order())
    assert list(TopologicalSorter(by_folder(service)).static_order())


def test_the_import_graph_in_the_documentation_is_the_codes() -> None:
    document = import_graph.DOCUMENT.read_text(encoding="utf-8")
    assert import_graph.written(document) == document, "run scripts/import_graph.py"


def outside(service: str) -> set[str]:
    """The modules of a service that import wires, stores or providers."""
    return {
        name.removeprefix(f"services.{service}.")
        for name, path in modules(service).items()
        if any(_is_within(other, OUTSIDE) for other in imported(path))
    }


@pytest.mark.parametrize("service", EDGES)
def test_only_the_edges_of_a_service_know_wires_stores_and_providers(service: str) -> None:
    assert set(EDGES[service].split()) == outside(service)


def test_the_gateways_cores_know_nothing_of_wires_and_stores() -> None:
    cores = set(GATEWAY_CORES.split())
    assert cores <= {name.removeprefix("services.gateway.") for name in modules("gateway")}
    assert not cores & outside("gateway")


def _is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_litellm_is_imported_only_by_the_executors_engines() -> None:
    engines = SERVICES / "executor" / "engines"
    for path in SERVICES.rglob("*.py"):
        if path.parent != engines:
            assert not any(_is_within(name, ("litellm",)) for name in imported(path)), path


def test_only_the_gateway_speaks_to_postgresql() -> None:
    for path in SERVICES.rglob("*.py"):
        if "gateway" not in path.parts and "local" not in path.parts:
            assert not any(_is_within(name, ("asyncpg",)) for name in imported(path)), path


@pytest.mark.parametrize("service", WITH_RPC)
def test_every_service_has_the_same_files_at_its_top(service: str) -> None:
    # The gateway speaks REST and gRPC, each in a folder of its own.
    servicer = "rpc/servicer" if service == "gateway" else "servicer"
    for name in ("__init__", "__main__", servicer):
        assert (SERVICES / service / f"{name}.py").exists(), f"{service}/{name}.py"


def test_every_folder_says_what_it_is_for() -> None:
    for folder in {path.parent for path in SERVICES.rglob("*.py")} - {SERVICES}:
        init = folder / "__init__.py"
        assert init.exists(), folder
        assert ast.get_docstring(parsed(init)), init


def test_files_and_classes_are_short_or_say_why_not() -> None:
    long = set()
    for path in SERVICES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        longest = max(
            (
                (node.end_lineno or 0) - node.lineno + 1
                for node in ast.walk(parsed(path))
                if isinstance(node, ast.ClassDef)
            ),
            default=0,
        )
        if len(text.splitlines()) > LONGEST_FILE or longest > LONGEST_CLASS:
            long.add(path.relative_to(ROOT).as_posix())
    assert set(LONGER) == long

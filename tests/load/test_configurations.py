"""The ghz configurations: one for every RPC of the contract, each a message that the contract understands."""

import json
from typing import Any

import pytest
from google.protobuf import json_format, symbol_database
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.gateway.v1 import gateway_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import litellm_config
from services.gateway.config import plans
from tests import tools
from tests.load import report
from tests.load.__main__ import FOLDER, configurations

METHODS = {
    method.full_name: method
    for module in (classifier_pb2, selector_pb2, executor_pb2, gateway_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
ALL = configurations()


def test_every_rpc_has_a_configuration() -> None:
    assert {each["call"] for each in ALL.values()} == set(METHODS)


@pytest.mark.parametrize("name", ALL)
def test_a_configuration_fits_the_contract_and_stays_on_this_machine(name: str) -> None:
    given = ALL[name]
    message = symbol_database.Default().GetSymbol(METHODS[given["call"]].input_type.full_name)

    json_format.ParseDict(given["data"], message())
    assert given["host"].startswith("127.0.0.1:")
    assert (tools.ROOT / given["proto"]).exists()
    assert name.startswith(given["call"].split(".")[1] + "_")


def test_bodies_are_json_and_candidates_are_configured() -> None:
    fleet = litellm_config.load(FOLDER / "config" / "litellm_config.yaml")
    known = {deployment.id for deployment in fleet.deployments}

    for given in ALL.values():
        data: dict[str, Any] = given["data"].get("execute", given["data"])
        if "body_json" in data:
            assert json.loads(data["body_json"])["messages"]
        assert {candidate["deployment"] for candidate in data.get("candidates", ())} <= known


def test_the_loads_own_plan_has_no_limits() -> None:
    assert plans.load(FOLDER / "config" / "lumni.yaml")


def test_a_report_is_shown_in_a_line() -> None:
    found = {
        "count": 10,
        "rps": 99.6,
        "latencyDistribution": [{"percentage": 50, "latency": 1_500_000}],
        "statusCodeDistribution": {"OK": 9, "Unavailable": 1},
    }

    assert report.rpc_line("x", found) == "| x | 10 | 100 | 1.50 | 0.00 | 0.00 | 1 Unavailable |"

"""The Helm chart in deploy/kubernetes, by the real helm, which `make chart` builds."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import kubernetes_manifests
from scripts.kubernetes_manifests import CHART, TARGET
from tests import tools

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def helm() -> str:
    return str(tools.find_or_skip("helm"))


def rendered(helm: str, *arguments: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(kubernetes_manifests.template(helm, *arguments)) if one]


def named(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def test_the_rendered_manifests_are_fresh(helm: str) -> None:
    there = {str(path.relative_to(TARGET)): path.read_text() for path in TARGET.rglob("*.yaml")}

    assert kubernetes_manifests.render(helm) == there, "run scripts/kubernetes_manifests.py"


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ("arrangement=apar", "/arrangement"),
        ("gateway.replicaz=3", "additional properties 'replicaz' not allowed"),
        ("executor.autoscaling.minReplicas=0", "/executor/autoscaling/minReplicas"),
        ("settings.OPENAI_API_KEY=sk-1", "/settings"),
        ("executor.settings.REDIS_URL=redis://x", "/executor/settings"),
        ("image.digests.gateway=sha256:1", "/image/digests/gateway"),
        ("secrets.database=", "/secrets/database"),
        ("secrets.gatewayDatabase=Pooler", "/secrets/gatewayDatabase"),
        ("gateway.ingress.enabled=true", "/gateway/ingress/host"),
    ],
)
def test_a_mistake_in_the_values_is_named_before_anything_is_made(
    helm: str, given: str, mistake: str
) -> None:
    with pytest.raises(ValueError, match="schema") as caught:
        kubernetes_manifests.template(helm, f"--set={given}")

    assert mistake in str(caught.value) or "invalid propertyName" in str(caught.value)


def test_the_schema_knows_every_value_of_the_chart() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(part: dict[str, Any], value: Any, where: str) -> None:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and "properties" in part:
            assert set(value) <= set(part["properties"]), where
            assert part["additionalProperties"] is False, where
            for key, inner in value.items():
                compare(part["properties"][key], inner, f"{where}.{key}")

    compare(schema, values, "values")


def test_lint_finds_nothing(helm: str) -> None:
    for overlay in ("", *kubernetes_manifests.OVERLAYS):
        given = [f"--values={CHART}/values-{overlay}.yaml"] if overlay else []
        done = subprocess.run(
            [helm, "lint", "--strict", f"--kube-version={kubernetes_manifests.KUBERNETES}", CHART, *given],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert 0 == done.returncode, done.stdout


def test_the_packed_chart_carries_the_files_of_the_repository(helm: str, tmp_path: Path) -> None:
    subprocess.run(
        [helm, "package", CHART, "--destination", tmp_path], check=True, capture_output=True, timeout=60
    )

    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        for name, file in (
            ("lumni.yaml", "config/lumni.yaml"),
            ("litellm_config.yaml", "config/litellm_config.yaml"),
            ("collector.yaml", "deploy/collector.yaml"),
            ("alerts.yml", "deploy/prometheus/alerts.yml"),
        ):
            member = packed.extractfile(f"lumni/files/{name}")
            assert member is not None
            assert (ROOT / file).read_bytes() == member.read()
        assert not [one for one in packed.getnames() if "values-" in one]


def test_the_configuration_is_the_repositorys_or_ones_own(helm: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("switches:\n  keep_features: true\n")

    usual = named(rendered(helm), "ConfigMap", "lumni-configuration")["data"]
    changed = named(
        rendered(helm, f"--set-file=configuration.lumni={own}"), "ConfigMap", "lumni-configuration"
    )

    assert usual == {
        name: (ROOT / "config" / name).read_text() for name in ("lumni.yaml", "litellm_config.yaml")
    }
    assert own.read_text() == changed["data"]["lumni.yaml"]


def test_one_process_takes_the_place_of_four_at_the_same_address(helm: str) -> None:
    apart, together = rendered(helm), rendered(helm, "--set=arrangement=together")

    assert {"lumni-together", "lumni-ledger", "lumni-collector"} == {
        one["metadata"]["name"] for one in together if one["kind"] == "Deployment"
    }
    services = [named(one, "Service", "lumni-gateway")["spec"] for one in (apart, together)]
    assert services[0]["ports"] == services[1]["ports"]
    assert "together" == services[1]["selector"]["app.kubernetes.io/component"]


@pytest.mark.parametrize(
    ("arrangement", "front"), [("apart", "lumni-gateway"), ("together", "lumni-together")]
)
def test_the_gateway_alone_goes_through_a_pooler(helm: str, arrangement: str, front: str) -> None:
    def databases(*given: str) -> dict[str, str]:
        return {
            one["metadata"]["name"]: variable["valueFrom"]["secretKeyRef"]["name"]
            for one in rendered(helm, f"--set=arrangement={arrangement}", *given)
            if one["kind"] in ("Deployment", "Job")
            for variable in one["spec"]["template"]["spec"]["containers"][0].get("env", ())
            if variable["name"] == "DATABASE_URL"
        }

    direct = dict.fromkeys((front, "lumni-ledger", "lumni-migration"), "lumni-database")
    assert direct == databases()
    assert {**direct, front: "lumni-pooler"} == databases("--set=secrets.gatewayDatabase=lumni-pooler")


def test_a_digest_goes_before_the_tag(helm: str) -> None:
    digest = "sha256:" + "0" * 64
    documents = rendered(
        helm,
        f"--set=image.digests.gateway={digest}",
        "--set=image.prefix=registry.example.com/llm/",
        "--set=image.tag=1.2.3",
    )

    def image(name: str) -> str:
        spec = named(documents, "Deployment", name)["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"])

    assert f"registry.example.com/llm/lumni-gateway@{digest}" == image("lumni-ledger")
    assert "registry.example.com/llm/lumni-executor:1.2.3" == image("lumni-executor")


def test_two_releases_of_a_namespace_do_not_meet(helm: str) -> None:
    made = subprocess.run(
        [helm, "template", "second", CHART, f"--kube-version={kubernetes_manifests.KUBERNETES}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    second = {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(made.stdout) if one}

    assert not second & {(one["kind"], one["metadata"]["name"]) for one in rendered(helm)}

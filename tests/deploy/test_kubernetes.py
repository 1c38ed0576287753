"""The rendered manifests of deploy/kubernetes: what Kubernetes accepts, who reaches whom, who holds which secret."""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import pytest
import yaml

from services.chassis import config, redis_acl
from services.classifier.settings import Settings as Classifier
from services.executor.settings import Settings as Executor
from services.gateway.ledger.settings import Settings as Ledger
from services.gateway.migrate import Settings as Migrate
from services.gateway.settings import Settings as Gateway
from services.selector.settings import Settings as Selector
from services.together.settings import read as read_together

ROOT = Path(__file__).parents[2]
RENDERED = ROOT / "deploy" / "kubernetes" / "rendered"
OVERLAYS = ("development", "staging", "production")
# What Chart.yaml begins with, and the newest.
OLDEST, NEWEST = "1.27.0", "1.37.0"
# Of the Prometheus operator and of cert-manager, whose schemas no package has.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "Certificate"}
READ: Mapping[str, Any] = {
    "classifier": config.reader(Classifier),
    "executor": config.reader(Executor),
    "gateway": config.reader(Gateway),
    "ledger": config.reader(Ledger),
    "migration": config.reader(Migrate),
    "selector": config.reader(Selector),
    "together": read_together,
}
# Alike in all that are not the collector's.
COMPONENT = "app.kubernetes.io/component"
# What the Secrets hold whose keys are not named in the manifests.
WHOLE = {"lumni-gateway": ("LUMNI_ADMIN_KEY", "LUMNI_KEY_SECRET"), "lumni-providers": ("OPENAI_API_KEY",)}


class Manifests(NamedTuple):
    """What one overlay makes."""

    overlay: str
    documents: list[dict[str, Any]]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The documents of a kind, by the component that they are for."""
        return {one["metadata"]["labels"][COMPONENT]: one for one in self.documents if one["kind"] == kind}

    def pods(self) -> dict[str, dict[str, Any]]:
        """The templates of all pods, by their component."""
        return {
            name: one["spec"]["template"]
            for kind in ("Deployment", "Job")
            for name, one in self.of(kind).items()
        }

    def ours(self) -> dict[str, dict[str, Any]]:
        """The pods that run Lumni's images."""
        return {name: pod for name, pod in self.pods().items() if name != "collector"}


def read(overlay: str) -> Manifests:
    files = sorted((RENDERED / overlay).glob("*.yaml"))
    return Manifests(overlay, [one for file in files for one in yaml.safe_load_all(file.read_text()) if one])


@pytest.fixture(params=OVERLAYS, scope="module")
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return read(request.param)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def told(pod: dict[str, Any]) -> dict[str, str]:
    """The variables of a pod that are no secrets."""
    return {one["name"]: one["value"] for one in container(pod)["env"] if "value" in one}


def secrets(pod: dict[str, Any]) -> set[str]:
    """What of which Secret a pod is given; * is all of it."""
    single = {
        f"{one['valueFrom']['secretKeyRef']['name']}/{one['valueFrom']['secretKeyRef']['key']}"
        for one in container(pod).get("env", ())
        if "valueFrom" in one
    }
    return single | {f"{one['secretRef']['name']}/*" for one in container(pod).get("envFrom", ())}


# Staging has what production has.
@pytest.mark.parametrize(
    ("overlay", "version"), [("development", NEWEST), ("production", NEWEST), ("production", OLDEST)]
)
def test_kubernetes_accepts_every_manifest_and_knows_every_field(overlay: str, version: str) -> None:
    for document in read(overlay).documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    deployment = read("development").of("Deployment")["ledger"]
    broken = deployment | {"spec": deployment["spec"] | {"replica": 2}}

    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


def test_every_pod_keeps_to_the_restricted_standard_with_a_read_only_root(manifests: Manifests) -> None:
    for name, pod in manifests.pods().items():
        spec, inside = pod["spec"], container(pod)
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"], name
        assert {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        } == inside["securityContext"], name
        assert {"cpu", "memory"} == inside["resources"]["requests"].keys(), name
        assert "memory" in inside["resources"]["limits"], name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name


def test_only_what_calls_providers_and_the_collector_have_a_way_out(manifests: Manifests) -> None:
    policies = manifests.of("NetworkPolicy")
    out = {
        name
        for name, policy in policies.items()
        for rule in policy["spec"].get("egress", ())
        if "to" not in rule or any("ipBlock" in peer for peer in rule["to"])
    }

    assert out <= {"executor", "together", "collector"}
    assert {"executor", "together"} & out
    # All else is refused, in both directions, and each pod has a policy of its own beside that.
    assert {"podSelector", "policyTypes"} == policies["nothing"]["spec"].keys()
    everything = policies["nothing"]["spec"]["podSelector"]["matchLabels"].items()
    for name, pod in manifests.pods().items():
        assert everything <= pod["metadata"]["labels"].items(), name
        assert ["Ingress", "Egress"] == policies[name]["spec"]["policyTypes"]
        assert _selects(policies[name]["spec"]["podSelector"], pod), name


def test_services_reach_what_the_road_needs_and_nothing_else(manifests: Manifests) -> None:
    pods, policies = manifests.pods(), manifests.of("NetworkPolicy")

    reached = {
        (one, other, port)
        for one, other in product(pods, pods)
        for port in _ports(policies[one]["spec"].get("egress", ()), "to", pods[other])
        if port in _ports(policies[other]["spec"].get("ingress", ()), "from", pods[one])
    }

    wanted = {(name, "collector", 4318) for name in manifests.ours() if "collector" in pods} - {
        ("migration", "collector", 4318)
    }
    if "gateway" in pods:
        wanted |= {
            ("gateway", "classifier", 50051),
            ("gateway", "selector", 50052),
            ("gateway", "executor", 50053),
        }
    assert wanted == reached


def _ports(rules: Any, side: str, pod: dict[str, Any]) -> set[int]:
    """The ports at which rules let a pod of the same namespace be met; peers of other namespaces are none of ours."""
    return {
        port["port"]
        for rule in rules
        for peer in rule.get(side, ())
        if peer.keys() == {"podSelector"} and _selects(peer["podSelector"], pod)
        for port in rule["ports"]
    }


def _selects(selector: dict[str, Any], pod: dict[str, Any]) -> bool:
    return bool(selector["matchLabels"].items() <= pod["metadata"]["labels"].items())


def test_every_address_leads_to_a_port_that_is_listened_at_and_to_the_name_in_its_certificate(
    manifests: Manifests,
) -> None:
    pods, services = manifests.pods(), manifests.of("Service")
    called = {
        match.groups()
        for pod in manifests.ours().values()
        for value in told(pod).values()
        if (match := re.fullmatch(r"(?:dns:///|http://)([\w.-]+):(\d+)", value))
    }

    assert called or manifests.overlay == "development"
    for host, port in called:
        ((component, service),) = (
            (name, one)
            for name, one in services.items()
            if host.split(".")[0] == one["metadata"]["name"]
            and host == f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc.cluster.local"
        )
        pod = pods[component]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        (named,) = (one for one in service["spec"]["ports"] if one["port"] == int(port))
        assert {"name": named["targetPort"], "containerPort": int(port)} in container(pod)["ports"]
        if component != "collector":
            # Each address of its own, over which gRPC balances.
            assert "None" == service["spec"]["clusterIP"]
            (certificate,) = (one for name, one in manifests.of("Certificate").items() if name == component)
            assert [host] == certificate["spec"]["dnsNames"]


def test_each_shows_the_certificate_that_is_made_for_it(manifests: Manifests) -> None:
    certificates = manifests.of("Certificate")

    assert (manifests.overlay != "development") == bool(certificates)
    for name, certificate in certificates.items():
        pod = manifests.pods()[name]
        (mounted,) = (one["secret"] for one in pod["spec"]["volumes"] if "secret" in one)
        assert certificate["spec"]["secretName"] == mounted["secretName"]
        assert {"/tls/tls.crt", "/tls/tls.key", "/tls/ca.crt"} <= set(told(pod).values())


def test_each_secret_is_named_where_it_belongs_and_none_is_there(manifests: Manifests) -> None:
    pods = manifests.pods()

    def holders(pattern: str) -> set[str]:
        return {name for name, pod in pods.items() if any(re.match(pattern, one) for one in secrets(pod))}

    front = {"gateway", "together"} & pods.keys()
    provided = {"executor", "together"} & pods.keys()
    apart = {"gateway", "classifier", "selector", "executor", "together"} & pods.keys()
    assert provided == holders("lumni-providers/")
    assert front == holders("lumni-gateway/")
    assert front | {"ledger", "migration"} == holders("lumni-database/")
    assert apart == holders("lumni-service/")
    for user in redis_acl.USERS:
        users = {user} if user == "ledger" else {user, "together"}
        assert users & pods.keys() == holders(f"lumni-redis/{user}$")
    assert "Secret" not in {one["kind"] for one in manifests.documents}
    hidden = re.compile(r"(_KEY|_TOKEN|_SECRET|_PASSWORD|_WEBHOOK)$|^(DATABASE|REDIS)_URL$")
    for name, pod in pods.items():
        variables = container(pod)["env"]
        shown = {one["name"] for one in variables if hidden.search(one["name"]) and one.get("value")}
        # The path of a file.
        assert not shown - {"LUMNI_TLS_KEY"}, name


def test_a_service_understands_its_environment(manifests: Manifests) -> None:
    for name, pod in manifests.ours().items():
        given = told(pod)
        for one in secrets(pod):
            secret, _, key = one.partition("/")
            for variable in WHOLE[secret] if key == "*" else ():
                given[variable] = "w" * 32
        for one in container(pod)["env"]:
            if "valueFrom" in one:
                given[one["name"]] = "redis://u:p@valkey" if one["name"].endswith("_URL") else "w" * 32

        READ[name](given)


def test_a_pod_may_end_its_longest_stream(manifests: Manifests) -> None:
    for name, pod in manifests.ours().items():
        variables = told(pod)
        if "LUMNI_REQUEST_TIMEOUT_S" in variables:
            longest = float(variables["LUMNI_REQUEST_TIMEOUT_S"])
            delay = float(variables.get("LUMNI_DRAIN_DELAY_S", 0))
            assert pod["spec"]["terminationGracePeriodSeconds"] > longest + delay, name
            assert delay or name not in ("gateway", "together")


def test_whoever_reads_the_configuration_sees_it_change(manifests: Manifests) -> None:
    readers = {
        name
        for name, pod in manifests.ours().items()
        for mount in container(pod)["volumeMounts"]
        if mount["mountPath"] == "/app/config" and "subPath" not in mount
    }

    assert {"gateway", "selector", "executor", "ledger", "together"} & manifests.pods().keys() == readers


def test_probes_meet_a_health_service_that_needs_no_certificate(manifests: Manifests) -> None:
    for name, pod in manifests.ours().items():
        if name == "migration":
            continue
        inside = container(pod)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = inside[probe]
            if "httpGet" in asked:
                assert name in ("gateway", "together", "ledger")
                continue
            variables = told(pod)
            address = variables.get("LUMNI_HEALTH_LISTEN") or variables["LUMNI_LISTEN"]
            assert address.endswith(f":{asked['grpc']['port']}"), name
            assert ("LUMNI_HEALTH_LISTEN" in variables) == ("LUMNI_TLS_CERT" in variables)
        ready = inside["readinessProbe"].get("httpGet", {}).get("path")
        assert {"gateway": "/health/ready", "together": "/health/ready", "ledger": "/metrics"}.get(
            name
        ) == ready


def test_autoscalers_measure_what_is_exported_and_decide_how_many_there_are(manifests: Manifests) -> None:
    exported = (ROOT / "docs" / "monitoring.md").read_text()
    adapter = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "prometheus-adapter.yaml").read_text())
    (series,) = (rule["seriesQuery"] for rule in adapter["rules"]["custom"])
    served = re.compile(series.partition('"')[2].partition('"')[0])
    scaled = manifests.of("HorizontalPodAutoscaler")

    assert (
        set() if manifests.overlay == "development" else {"gateway", "classifier", "selector", "executor"}
    ) == (scaled.keys())
    for name, scaler in scaled.items():
        deployment = manifests.of("Deployment")[name]
        assert deployment["metadata"]["name"] == scaler["spec"]["scaleTargetRef"]["name"]
        assert "replicas" not in deployment["spec"]
        cpu, under_way = scaler["spec"]["metrics"]
        assert "cpu" == cpu["resource"]["name"]
        metric = under_way["pods"]["metric"]["name"]
        assert f"| `{metric}` (gauge)" in exported
        assert served.match(metric)


def test_every_deployment_of_ours_has_a_budget_and_is_spread(manifests: Manifests) -> None:
    for name, deployment in manifests.of("Deployment").items():
        spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert {"topology.kubernetes.io/zone", "kubernetes.io/hostname"} == {
            one["topologyKey"] for one in spread
        }
        for one in spread:
            assert _selects(one["labelSelector"], deployment["spec"]["template"])
        if name != "collector":
            budget = manifests.of("PodDisruptionBudget")[name]["spec"]
            assert 1 == budget["maxUnavailable"]
            assert _selects(budget["selector"], deployment["spec"]["template"])


def test_prometheus_finds_each_service_under_the_job_that_the_alerts_name(manifests: Manifests) -> None:
    if manifests.overlay == "development":
        assert not manifests.of("ServiceMonitor")
        return
    configured = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    jobs = {one["job_name"] for one in configured["scrape_configs"]}
    for name, monitor in manifests.of("ServiceMonitor").items():
        service = manifests.of("Service")[name]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] in jobs
        (endpoint,) = monitor["spec"]["endpoints"]
        (port,) = (one for one in service["spec"]["ports"] if one["name"] == endpoint["port"])
        (listens,) = (v for k, v in told(manifests.pods()[name]).items() if k == "LUMNI_METRICS_LISTEN")
        assert listens.endswith(f":{port['port']}")
    assert manifests.ours().keys() - {"migration"} == manifests.of("ServiceMonitor").keys()


def test_files_of_others_are_in_the_manifests_as_they_are(manifests: Manifests) -> None:
    collectors = manifests.of("ConfigMap")
    if "collector" in collectors:
        assert (ROOT / "deploy" / "collector.yaml").read_text() == collectors["collector"]["data"][
            "collector.yaml"
        ], "run scripts/kubernetes_manifests.py"
    for rules in manifests.of("PrometheusRule").values():
        alerts = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
        assert alerts == rules["spec"], "run scripts/kubernetes_manifests.py"


def test_the_ledger_follows_the_gateways_image(manifests: Manifests) -> None:
    images = {name: container(pod)["image"] for name, pod in manifests.ours().items()}

    assert images["ledger"] == images["migration"]
    assert {f"lumni-{name}" for name in (images.keys() | {"gateway"}) - {"ledger", "migration"}} == {
        image.partition(":")[0] for image in images.values()
    } | {"lumni-gateway"}

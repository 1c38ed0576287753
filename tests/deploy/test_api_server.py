"""deploy/kubernetes against a real API server: what it refuses, warns of and completes. No pod runs."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import yaml

from scripts.kubernetes_manifests import CHART, OVERLAYS, TARGET
from tests import tools
from tests.deploy import api_server
from tests.deploy.api_server import Applied, Client, Refused

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("api-server")]

NAMESPACE = "lumni"
# Pods that break the standard are refused, and manifests that would make such warn.
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
HELM_S = 120


class Cluster(NamedTuple):
    """An API server that knows what the manifests need beside Kubernetes' own."""

    client: Client
    kubeconfig: Path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    definitions = [
        yaml.safe_load(file.read_text())
        for file in sorted(tools.find_or_skip("custom-resources").glob("*.yaml"))
    ]
    for name in ("etcd", "kube-apiserver"):
        tools.find_or_skip(name)
    async with api_server.running(tmp_path_factory.mktemp("api-server")) as (server, client):
        for definition in definitions:
            await client.apply(definition)
        for definition in definitions:
            spec = definition["spec"]
            for version in spec["versions"]:
                await client.served(f"{spec['group']}/{version['name']}", spec["names"]["kind"])
        yield Cluster(client, server.kubeconfig())


async def make_namespace(client: Client, name: str) -> None:
    """A namespace as docs/kubernetes.md makes it, and the account in it that a controller would make."""
    for kind, metadata in (
        ("Namespace", {"name": name, "labels": RESTRICTED}),
        ("ServiceAccount", {"name": "default", "namespace": name}),
    ):
        await client.apply({"apiVersion": "v1", "kind": kind, "metadata": metadata})


def manifests(overlay: str, namespace: str) -> list[dict[str, Any]]:
    """The rendered manifests of an overlay, in a namespace."""
    files = (TARGET / overlay / f"{part}.yaml" for part in ("migration", "lumni"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text()) if one]
    for one in found:
        assert NAMESPACE == one["metadata"]["namespace"]
        one["metadata"]["namespace"] = namespace
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_every_manifest_is_taken_without_a_warning_and_a_second_time_changes_nothing(
    cluster: Cluster, overlay: str
) -> None:
    await make_namespace(cluster.client, overlay)
    every = manifests(overlay, overlay)

    async def apply_all() -> list[Applied]:
        return [await cluster.client.apply(one) for one in every]

    first, second = await apply_all(), await apply_all()

    assert not [warning for one in (*first, *second) for warning in one.warnings]
    versions = [[one.kept["metadata"]["resourceVersion"] for one in each] for each in (first, second)]
    assert versions[0] == versions[1]


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_every_pod_is_admitted(cluster: Cluster, overlay: str) -> None:
    await make_namespace(cluster.client, overlay)
    for one in manifests(overlay, overlay):
        if one["kind"] == "ServiceAccount":
            await cluster.client.apply(one)
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **one["spec"]["template"]}
        for one in manifests(overlay, overlay)
        if one["kind"] in ("Deployment", "Job")
    ]

    for pod in pods:
        pod["metadata"] |= {"namespace": overlay, "name": "pod"}
        admitted = await cluster.client.try_to_create(pod)
        assert not admitted.warnings
        assert "Burstable" == admitted.kept["status"]["qosClass"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"replica": 2}, "replica"),
        ({"replicas": -1}, "greater than or equal to 0"),
        ({"selector": {"matchLabels": {"app": "other"}}}, "does not match template"),
    ],
)
async def test_a_mistake_in_a_manifest_is_refused(
    cluster: Cluster, broken: dict[str, Any], reason: str
) -> None:
    await make_namespace(cluster.client, "mistaken")
    deployment = next(one for one in manifests("development", "mistaken") if one["kind"] == "Deployment")

    with pytest.raises(Refused, match=reason):
        await cluster.client.apply(deployment | {"spec": deployment["spec"] | broken})


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PrometheusRule", "Certificate"])
async def test_a_field_that_an_operator_does_not_know_is_refused(cluster: Cluster, kind: str) -> None:
    await make_namespace(cluster.client, "mistaken")
    manifest = next(one for one in manifests("production", "mistaken") if one["kind"] == kind)

    with pytest.raises(Refused, match="unheard"):
        await cluster.client.apply(manifest | {"spec": manifest["spec"] | {"unheard": "of"}})


async def test_a_pod_beyond_the_standard_is_refused_and_warned_of(cluster: Cluster) -> None:
    await make_namespace(cluster.client, "beyond")
    deployment = next(
        one
        for one in manifests("development", "beyond")
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "lumni-ledger"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    del container["securityContext"]["capabilities"]

    applied = await cluster.client.apply(deployment)

    assert [warning for warning in applied.warnings if "restricted" in warning]


async def test_helm_installs_upgrades_and_goes_back(cluster: Cluster) -> None:
    helm, name = str(tools.find_or_skip("helm")), "by-helm"
    await make_namespace(cluster.client, name)
    common = (f"--namespace={name}", f"--kubeconfig={cluster.kubeconfig}")

    async def run(*command: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [helm, *command, *common],
            check=False,
            capture_output=True,
            text=True,
            timeout=HELM_S,
        )
        assert 0 == done.returncode, done.stderr
        assert "arning" not in done.stderr
        return done.stdout

    async def upgrade(*arguments: str) -> None:
        values = f"--values={CHART}/values-production.yaml"
        ran, _ = await asyncio.gather(
            run("upgrade", "--install", "lumni", str(CHART), values, *arguments),
            cluster.client.end_job(name, "lumni-migration"),
        )
        assert "STATUS: deployed" in ran

    async def versions() -> dict[str, str]:
        """The resource versions of what is not Helm's own, nor a hook."""
        kinds = {(one["apiVersion"], one["kind"]) for one in manifests("production", name)}
        return {
            f"{kind}/{one}": kept["metadata"]["resourceVersion"]
            for version, kind in kinds - {("batch/v1", "Job")}
            for one, kept in (await cluster.client.objects(version, kind, name)).items()
        }

    async def ledgers_image() -> str:
        deployments = await cluster.client.objects("apps/v1", "Deployment", name)
        image: str = deployments["lumni-ledger"]["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    await upgrade()
    installed, image = await versions(), await ledgers_image()
    await upgrade()
    assert installed == await versions()
    await upgrade("--set=image.tag=9.9.9")
    changed = await versions()
    assert (await ledgers_image()).endswith(":9.9.9")
    assert {"Deployment"} == {one.partition("/")[0] for one in changed if changed[one] != installed[one]}
    await run("rollback", "lumni", "2", "--no-hooks")
    assert image == await ledgers_image()

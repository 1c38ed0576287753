"""A real API server of Kubernetes with its etcd, on loopback, and a client that applies manifests as kubectl does.

Nothing else of Kubernetes runs: what is applied is checked, completed and kept, and no pod is ever started. Certificates are
made for the run. `make chart-server` builds both programs.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import trustme
import yaml

from services.local import ports
from services.local.server import Server, started
from tests import tools

LOOPBACK = "127.0.0.1"
# A machine that does much else needs minutes.
START_S = 300
PAUSE_S = 0.05
# Of those fields that Lumni's manifests set.
MANAGER = "lumni"


class Refused(Exception):
    """What the API server did not take, with its reason."""


class Etcd(Server):
    """What the API server keeps things in."""

    name = "etcd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "etcd.log")
        self._program, self._folder = tools.find("etcd"), folder / "etcd"
        self._port, self._peers = ports.free(), ports.free()

    @property
    def url(self) -> str:
        """Where the API server reaches it."""
        return f"http://{LOOPBACK}:{self._port}"

    def command(self) -> Sequence[str]:
        """One member, which does not wait for the disk: its data lives no longer than the run."""
        return [
            str(self._program),
            f"--data-dir={self._folder}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls=http://{LOOPBACK}:{self._peers}",
            "--unsafe-no-fsync",
        ]

    async def answers(self) -> bool:
        """Whether it serves reads and writes."""
        return await _answers(f"{self.url}/health", ssl.create_default_context())


class ApiServer(Server):
    """kube-apiserver with the checks that are on by default, and one user, who may do everything."""

    name = "kube-apiserver"

    def __init__(self, folder: Path, etcd: Etcd) -> None:
        super().__init__(folder / "kube-apiserver.log")
        self._program, self._folder, self._etcd = tools.find("kube-apiserver"), folder, etcd
        self._port = ports.free()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.crt")
        for name, certificate in (
            ("server", authority.issue_cert(LOOPBACK)),
            ("admin", authority.issue_cert("admin", common_name="admin", organization_name="system:masters")),
        ):
            certificate.private_key_pem.write_to_path(folder / f"{name}.key")
            certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"https://{LOOPBACK}:{self._port}"

    def command(self) -> Sequence[str]:
        """The server, whose tokens of service accounts are signed by its own key: no pod ever shows one."""
        folder = self._folder
        return [
            str(self._program),
            f"--etcd-servers={self._etcd.url}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._port}",
            f"--tls-cert-file={folder / 'server.crt'}",
            f"--tls-private-key-file={folder / 'server.key'}",
            f"--client-ca-file={folder / 'ca.crt'}",
            f"--service-account-key-file={folder / 'server.crt'}",
            f"--service-account-signing-key-file={folder / 'server.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
        ]

    def context(self) -> ssl.SSLContext:
        """TLS of the user who may do everything."""
        context = ssl.create_default_context(cafile=self._folder / "ca.crt")
        context.load_cert_chain(self._folder / "admin.crt", self._folder / "admin.key")
        return context

    def kubeconfig(self) -> Path:
        """A file by which kubectl and helm are that user."""
        cluster = {"server": self.url, "certificate-authority": str(self._folder / "ca.crt")}
        user = {
            "client-certificate": str(self._folder / "admin.crt"),
            "client-key": str(self._folder / "admin.key"),
        }
        file = self._folder / "kubeconfig"
        file.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "run", "cluster": cluster}],
                    "users": [{"name": "admin", "user": user}],
                    "contexts": [{"name": "run", "context": {"cluster": "run", "user": "admin"}}],
                    "current-context": "run",
                }
            )
        )
        return file

    async def answers(self) -> bool:
        """Whether all of it is there."""
        return await _answers(f"{self.url}/readyz", self.context())


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a manifest: the object as it is kept, and what the server warns of."""

    kept: dict[str, Any]
    warnings: list[str]


class Client:
    """Applies and reads objects; everything is checked strictly, so that no unknown field passes."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        # By API version and kind.
        self._paths: dict[tuple[str, str], str] = {}

    async def apply(self, manifest: dict[str, Any]) -> Applied:
        """Make an object what a manifest says (server-side apply).

        Raises:
            Refused: the server does not take it.
        """
        return _taken(
            await self._http.patch(
                await self._path(manifest, manifest["metadata"]["name"]),
                params={"fieldManager": MANAGER, "fieldValidation": "Strict"},
                content=orjson.dumps(manifest),
                headers={"content-type": "application/apply-patch+yaml"},
            )
        )

    async def try_to_create(self, manifest: dict[str, Any]) -> Applied:
        """What creating an object would meet, without making it.

        Raises:
            Refused: the server would not take it.
        """
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        return _taken(await self._http.post(await self._path(manifest), params=params, json=manifest))

    async def end_job(self, namespace: str, name: str) -> None:
        """Wait for a job that is to run, and say that it is complete, as those would who run it."""
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        while (found := await self._http.get(path)).status_code == 404 or found.json()["status"]:
            await asyncio.sleep(PAUSE_S)
        moment = found.json()["metadata"]["creationTimestamp"]
        conditions = [
            {"type": kind, "status": "True", "lastProbeTime": moment, "lastTransitionTime": moment}
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
        status = {"startTime": moment, "completionTime": moment, "succeeded": 1, "conditions": conditions}
        _taken(
            await self._http.patch(
                f"{path}/status",
                content=orjson.dumps({"status": status}),
                headers={"content-type": "application/merge-patch+json"},
            )
        )

    async def objects(self, api_version: str, kind: str, namespace: str) -> dict[str, dict[str, Any]]:
        """All objects of a kind by their names."""
        some = {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}}
        found = (await self._http.get(await self._path(some))).raise_for_status()
        return {one["metadata"]["name"]: one for one in found.json()["items"]}

    async def served(self, api_version: str, kind: str) -> None:
        """Wait until a kind is served: of a definition that has just been applied it is a moment later."""
        async with asyncio.timeout(START_S):
            while not await self._discovered(api_version, kind):
                await asyncio.sleep(PAUSE_S)

    async def _path(self, manifest: dict[str, Any], name: str = "") -> str:
        key = manifest["apiVersion"], manifest["kind"]
        if key not in self._paths and not await self._discovered(*key):
            raise Refused(f"{key} is served by nobody")
        place = manifest["metadata"].get("namespace")
        path = self._paths[key].replace("{namespace}", f"namespaces/{place}/" if place else "")
        return f"{path}/{name}" if name else path

    async def _discovered(self, api_version: str, kind: str) -> bool:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        found = await self._http.get(root)
        for one in found.json()["resources"] if found.status_code == 200 else ():
            if one["kind"] == kind and "/" not in one["name"]:
                self._paths[api_version, kind] = f"{root}/{{namespace}}{one['name']}"
                return True
        return False


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[ApiServer, Client]]:
    """Run both until the block ends.

    Raises:
        Absent: they are not built.
    """
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(started(Etcd(folder)))
        server = ApiServer(folder, etcd)
        stack.push_async_callback(server.stop)
        server.spawn()
        await server.ready(START_S)
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=server.url, verify=server.context(), trust_env=False, timeout=START_S)
        )
        yield server, Client(http)


def _taken(answer: httpx.Response) -> Applied:
    if answer.is_error:
        raise Refused(answer.json().get("message", answer.text))
    return Applied(answer.json(), answer.headers.get_list("warning"))


async def _answers(url: str, context: ssl.SSLContext) -> bool:
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=0.9) as http:
        try:
            return (await http.get(url)).status_code == 200
        except httpx.TransportError:
            return False

"""Programs that some tests and the load script use: some written in Go, and some of Debian's.

`python -m tests.tools` installs them, those in Go where that is present and Debian's where apt is and may install,
`python -m tests.tools ghz` one of them, which is the only way to what takes minutes; both print where they are. Tests only look for them: compiling one takes longer
than a test may.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".lumni" / "tools"
# Pinned here; the Go checksum database vouches for what is fetched.
MODULES = {
    # What `docker compose` reads its files with.
    "compose-go": "github.com/compose-spec/compose-go/v2/cmd@v2.16.2",
    "ghz": "github.com/bojand/ghz/cmd/ghz@v0.120.0",
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
    "vegeta": "github.com/tsenart/vegeta/v12@v12.13.0",
}
# Programs in Go that are installed only by their names: minutes.
SLOW_MODULES = {"helm": "helm.sh/helm/v3/cmd/helm@v3.22.0"}
# Collectors of OpenTelemetry, put together by its builder from the components in a file: minutes.
BUILT = {"otelcol": ROOT / "tests" / "deploy" / "otelcol.yaml"}
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.145.0"
# Programs in Go whose module takes its parts from folders beside it, which `go install` refuses: many minutes. The parts
# are modules as well, whose versions begin with v0 where the module's begin with v1. etcd's version is that which it asks for.
KUBERNETES = "k8s.io/kubernetes@v1.37.2"
WITH_PARTS = {
    "etcd": (KUBERNETES, "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": (KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver"),
}
# Folders of files out of modules.
FILES = {
    # What the Prometheus operator and cert-manager add to Kubernetes' API.
    "custom-resources": (
        (
            "github.com/prometheus-operator/prometheus-operator@v0.85.0",
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        ),
        (
            "github.com/prometheus-operator/prometheus-operator@v0.85.0",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ),
        (
            "github.com/cert-manager/cert-manager@v1.21.2",
            "deploy/crds/cert-manager.io_certificates.yaml",
        ),
    )
}
# Debian's packages, which come with all that they need.
PACKAGES = ("chromium",)
# Programs and libraries out of Debian's packages, which would start a server or change the machine if they were
# installed whole; the libraries that they need beside C's lie beside them. `go install` refuses promtool, whose go.mod
# excludes modules.
UNPACKED = {
    "promtool": ("prometheus",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
    "pgbouncer": ("pgbouncer", "libc-ares2", "libevent-2.1-7"),
    "libfaketimeMT.so.1": ("libfaketime",),
    # The Valkey of the wheel has no TLS. The server is this program under the name redis-server.
    "redis-check-rdb": ("redis-tools", "libjemalloc2", "liblzf1"),
}
INSTALL_S = 600
BUILD_S = 3600


class Absent(Exception):
    """A program is not here, and why it cannot be."""


def find(name: str) -> Path:
    """Where a program is.

    Raises:
        Absent: it is not installed.
    """
    if found := shutil.which(name):
        return Path(found)
    path = FOLDER / name
    if path.exists():
        return path
    if name in (*BUILT, *SLOW_MODULES, *WITH_PARTS, *FILES):
        raise Absent(
            f"{name} is not built; `python -m tests.tools {name}` does that in minutes if Go is there"
        )
    raise Absent(
        f"{name} is not installed; `make tools` does that if {'Go' if name in MODULES else 'apt'} is there"
    )


def find_or_skip(name: str) -> Path:
    """As find, for tests: one that needs an absent program is skipped, saying why."""
    try:
        return find(name)
    except Absent as absent:
        pytest.skip(str(absent))


def install(name: str) -> Path:
    """Where a program is; one that is absent is installed first: in Go, it is compiled into .lumni/tools in a minute.

    Raises:
        Absent: there is no Go or no apt, no network, or no time.
    """
    go = shutil.which("go")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        # Two test runs must not compile the same at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return find(name)
        except Absent:
            if name in PACKAGES:
                _install_package(name)
                return find(name)
            if name in UNPACKED:
                _unpack(name)
                return find(name)
            if go is None:
                raise Absent(f"{name} is not installed, and neither is Go, which could install it") from None
        path = FOLDER / name
        if name in BUILT:
            _build(go, name)
        elif name in WITH_PARTS:
            _build_with_parts(go, name)
        elif name in FILES:
            _copy_files(go, name)
        else:
            _install(go, path)
        return path


def _install(go: str, path: Path) -> None:
    module = (MODULES | SLOW_MODULES)[path.name]
    try:
        done = subprocess.run(
            [go, "install", module],
            env=os.environ | {"GOBIN": str(FOLDER), "GOFLAGS": "-trimpath"},
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"go install {module} took more than {INSTALL_S} s") from None
    if done.returncode != 0:
        raise Absent(f"go install {module} failed: {done.stderr.strip().splitlines()[-1:]}")
    # Go names a program after the last part of its path that is no version.
    parts = [part for part in module.partition("@")[0].split("/") if not re.fullmatch(r"v\d+", part)]
    (FOLDER / parts[-1]).rename(path)


def _build(go: str, name: str) -> None:
    # The builder writes a program's source where it is started, and the program beside it.
    with tempfile.TemporaryDirectory() as folder:
        _run(go, "run", BUILDER, "--config", str(BUILT[name]), folder=folder, timeout_s=BUILD_S)
        shutil.copy(Path(folder, name, name), FOLDER / name)


def _build_with_parts(go: str, name: str) -> None:
    module, package = WITH_PARTS[name]
    path, _, version = module.partition("@")
    asked = Path(_downloaded(go, module)["GoMod"]).read_text()
    with tempfile.TemporaryDirectory() as folder:
        # As its own replacements hold for nobody else, a module of ours has them again.
        parts = re.findall(r"^\s(\S+) => \./\S+$", asked, re.MULTILINE)
        lines = [f"{part} => {part} v0{version.removeprefix('v1')}" for part in parts]
        Path(folder, "go.mod").write_text(
            "module tools\n" + f"require {path} {version}\n" + "".join(f"replace {line}\n" for line in lines)
        )
        # Kubernetes' own build sets it, too; helm asks for it.
        flags = f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={version}"
        command = (go, "build", "-mod=mod", "-trimpath", flags, "-o", str(FOLDER / name), package)
        _run(*command, folder=folder, timeout_s=BUILD_S)


def _copy_files(go: str, name: str) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        for module, file in FILES[name]:
            source = Path(_downloaded(go, module)["Dir"], file)
            # Files of Go's cache cannot be written.
            shutil.copyfile(source, Path(folder, source.name))
        shutil.copytree(folder, FOLDER / name)


def _downloaded(go: str, module: str) -> dict[str, str]:
    """Where Go has put a module."""
    found: dict[str, str] = json.loads(_run(go, "mod", "download", "-json", module))
    return found


def _install_package(name: str) -> None:
    if os.geteuid() != 0:
        raise Absent(f"{name} is not installed; on Debian and Ubuntu: sudo apt-get install {name}")
    _apt("update", "-q")
    _apt("install", "-qy", "--no-install-recommends", name)


def _unpack(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            _apt("update", "-q")
        _apt("download", "-q", *UNPACKED[name], folder=folder)
        for archive in list(Path(folder).glob("*.deb")):
            _run("dpkg", "-x", str(archive), folder)
        (program,) = (
            path for part in ("bin", "sbin", "lib") for path in Path(folder, "usr", part).rglob(name)
        )
        for path in (*Path(folder, "usr", "lib").glob("*-linux-gnu/*.so.*"), program):
            shutil.copy(path, FOLDER / path.name)


def _apt(*arguments: str, folder: str = "/") -> None:
    _run("apt-get", *arguments, folder=folder)


def _run(*command: str, folder: str = "/", timeout_s: float = INSTALL_S) -> str:
    """What a command prints."""
    if shutil.which(command[0]) is None:
        raise Absent(f"there is no {command[0]} here")
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{' '.join(command)} failed: {error}") from error
    return done.stdout


def main(names: list[str]) -> int:
    """Install and print; 1 when one that was named is absent."""
    absent = 0
    for name in names or (*MODULES, *PACKAGES, *UNPACKED):
        try:
            print(install(name))
        except Absent as reason:
            print(f"skipped: {reason}")
            absent += 1
    return int(bool(names and absent))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

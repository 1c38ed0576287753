"""The Dockerfile's image of each service: built here without Docker, as far as files and imports go."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import check_images

ROOT = Path(__file__).parents[2]
APART = ("classifier", "selector", "executor", "gateway")
SERVICES = (*APART, "together")
# What is run in an image, where that is not the service's own __main__ alone.
RUN = {
    "gateway": ("gateway.__main__", "gateway.ledger.__main__", "gateway.migrate"),
    "together": ("together.__main__", *(f"{name}.__main__" for name in APART)),
}


def _copies(service: str) -> list[tuple[str, str]]:
    """The COPY lines of a service's stages that read from the folder, with its name filled in."""
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    named = {found[1]: stage for stage in stages if (found := re.match(r"\S+ AS (\w+)", stage))}
    own = named["together"] if service == "together" else stages[-1]
    assert own.startswith("base")
    lines = re.findall(r"^COPY (?!--from)(\S+) (\S+)$", named["base"] + own, re.MULTILINE)
    return [
        (source.replace("${SERVICE}", service), target.replace("${SERVICE}", service))
        for source, target in lines
    ]


def _ignored(folder: str, names: list[str]) -> set[str]:
    """What .dockerignore keeps out, as far as its plain paths go."""
    here = Path(folder).relative_to(ROOT)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return {name for name in names if name == "__pycache__" or (here / name).as_posix() in lines}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_an_image_holds_all_that_its_service_imports_and_no_other_service(
    service: str, tmp_path: Path
) -> None:
    for source, target in _copies(service):
        into = tmp_path / target.removeprefix("/")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=_ignored)
        else:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, into)

    app = tmp_path / "app"
    modules = [f"services.{name}" for name in RUN.get(service, (f"{service}.__main__",))]
    imports = f"import {', '.join(modules)}, services.chassis.rpc.probe, sys; print(services.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", imports], cwd=app, env={"PYTHONPATH": str(app)}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == app / "services" / "__init__.py"
    assert {path.name for path in (app / "services").iterdir() if path.is_dir()} - {"__pycache__"} == {
        "chassis",
        service,
        *(APART if service == "together" else ()),
    }
    assert not list((app / "services").glob("*/training"))


def test_every_package_of_an_image_is_pinned_and_hashed(service: str) -> None:
    lock = (ROOT / "locks" / f"{service}.txt").read_text().replace("\\\n", " ")
    packages = [line for line in lock.splitlines() if line.strip() and not line.startswith(("#", " "))]

    assert packages
    assert not [line for line in packages if "==" not in line or "--hash=sha256:" not in line]
    assert "://" not in lock


def test_only_images_that_call_providers_have_litellm(service: str) -> None:
    lock = (ROOT / "locks" / f"{service}.txt").read_text()

    assert bool(re.search(r"^litellm==", lock, re.MULTILINE)) == (service in ("executor", "together"))


def test_packages_are_checked_by_their_hashes_and_services_are_no_root() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert "--require-hashes -r /lock.txt" in text
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["lumni"]


def test_nothing_secret_or_large_reaches_the_build() -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source.split("/")[0]
        for service in SERVICES
        for source, _ in (*_copies(service), (f"locks/{service}.txt", ""))
    }

    assert rules[0] == "*"
    assert {path.split("/")[0] for path in sent} == copied


def test_the_address_of_a_package_index_stays_in_no_image() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    (packages,) = (stage for stage in stages if re.match(r"\S+ AS packages$", stage.splitlines()[0]))
    assert ["ARG PIP_INDEX_URL"] == re.findall(r"^.*PIP_INDEX_URL.*$", "".join(stages), re.MULTILINE)
    assert "ARG PIP_INDEX_URL" in packages
    assert {"/venv"} == set(re.findall(r"--from=packages (\S+)", "".join(stages)))
    for file in ("scripts/base_images", "deploy/base_images/Dockerfile"):
        assert "pip.conf" not in (ROOT / file).read_text()

    assert [] == check_images.wrong("selector", ["etc/hosts"], "lumni")
    (found,) = check_images.wrong("selector", ["etc/pip.conf"], "lumni")
    assert "may hold the password of a package index" in found

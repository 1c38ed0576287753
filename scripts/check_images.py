"""Look into built images: who runs in them, which files they hold, and under which licences their packages are.

python -m scripts.check_images lumni_gateway lumni_executor ...  prints a table, then what is wrong; 1 if anything is.
Add --licences for the packages of each. The service is the last word of the image's name.
"""

import argparse
import json
import re
import subprocess
import sys
import tarfile

# Only these call providers.
WITH_LITELLM = {"executor", "together"}
# Patterns of paths that no image may hold, and why.
FORBIDDEN = {
    r"^app/services/\w+/training/": "trains weights, which happens in the repository",
    r"(^|/)tests?/(conftest|test_\w+)\.py$": "is a test",
    r"^app/.*\.env$": "may hold secrets",
    r"^etc/pip\.conf$": "may hold the password of a package index",
    r"^venv/lib/[^/]+/site-packages/(pip|setuptools|torch)/": "installs or trains",
}
# Packages bring tests of their own, which nothing of ours imports.
EXEMPT = re.compile(r"^(venv|usr)/.*tests?/")
LICENCES = """
from importlib.metadata import distributions
for one in sorted(distributions(), key=lambda one: one.name.lower()):
    about = one.metadata
    named = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    said = about.get("License-Expression") or ", ".join(named) or (about.get("License") or "unknown").splitlines()[0]
    print(f"{one.name}=={one.version}: {said}")
"""


def files(image: str) -> list[str]:
    """The path of every file of an image."""
    container = _docker("create", image).strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                return [member.name for member in archive if not member.isdir()]
    finally:
        _docker("rm", container)


def wrong(service: str, paths: list[str], user: str) -> list[str]:
    """What an image of a service should not be."""
    found = [] if user not in ("", "0", "root") else ["runs as root"]
    for pattern, reason in FORBIDDEN.items():
        found += [
            f"{path} {reason}" for path in paths if re.search(pattern, path) and not EXEMPT.search(path)
        ][:3]
    if service not in WITH_LITELLM and any("/site-packages/litellm/" in path for path in paths):
        found.append("holds LiteLLM, and calls no provider")
    return found


def _docker(*arguments: str) -> str:
    return subprocess.run(("docker", *arguments), check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Print what the images are; 1 when something is wrong with one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+")
    parser.add_argument("--licences", action="store_true")
    arguments = parser.parse_args()
    mistakes = []
    print("| image | MB | files | of Lumni | runs as |\n| --- | --- | --- | --- | --- |")
    for image in arguments.images:
        (about,) = json.loads(_docker("image", "inspect", image))
        user = about["Config"]["User"]
        paths = files(image)
        own = sum(path.startswith("app/") for path in paths)
        print(f"| {image} | {about['Size'] / 1e6:.0f} | {len(paths)} | {own} | {user or 'root'} |")
        service = re.split(r"[-_/]", image.partition(":")[0])[-1]
        mistakes += [f"{image}: {mistake}" for mistake in wrong(service, paths, user)]
    if arguments.licences:
        for image in arguments.images:
            print(f"\n{image}\n{_docker('run', '--rm', '--network=none', image, 'python', '-c', LICENCES)}")
    print("\n".join(mistakes) or "nothing is wrong")
    return int(bool(mistakes))


if __name__ == "__main__":
    sys.exit(main())

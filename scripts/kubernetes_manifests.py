"""Render deploy/kubernetes/rendered from the chart, for those without Helm: python scripts/kubernetes_manifests.py.

It needs helm, which `python -m tests.tools helm` installs if Go is there.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "kubernetes" / "lumni"
TARGET = ROOT / "deploy" / "kubernetes" / "rendered"
OVERLAYS = ("development", "staging", "production")
# One whose API all of the manifests can use; helm asks no cluster here.
KUBERNETES = "1.37.0"
HEAD = "# Made by scripts/kubernetes_manifests.py of the chart beside this folder and its values-{overlay}.yaml.\n"
# Whoever has no Helm makes the ConfigMap of files of their own: docs/kubernetes.md.
CONFIGURATION = "configuration.existing=lumni-configuration"
MIGRATION = "templates/migration.yaml"


def template(helm: str, *arguments: str) -> str:
    """What helm makes of the chart, in the namespace lumni.

    Raises:
        ValueError: helm refuses the values.
    """
    made = subprocess.run(
        [helm, "template", "lumni", CHART, "--namespace=lumni", f"--kube-version={KUBERNETES}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if made.returncode != 0:
        raise ValueError(made.stderr)
    return made.stdout


def render(helm: str) -> dict[str, str]:
    """The files below deploy/kubernetes/rendered: for each overlay the migration, and what follows it."""
    files = {}
    for overlay in OVERLAYS:
        given = (f"--values={CHART}/values-{overlay}.yaml", f"--set={CONFIGURATION}")
        head = HEAD.format(overlay=overlay)
        files[f"{overlay}/migration.yaml"] = head + template(helm, *given, f"--show-only={MIGRATION}")
        files[f"{overlay}/lumni.yaml"] = head + template(helm, *given, "--no-hooks")
    return files


if __name__ == "__main__":
    found = shutil.which("helm") or str(ROOT / ".lumni" / "tools" / "helm")
    if not Path(found).exists():
        sys.exit("helm is not installed; `python -m tests.tools helm` does that if Go is there")
    for name, text in render(found).items():
        (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
        (TARGET / name).write_text(text)

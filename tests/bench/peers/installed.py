"""The programs of other gateways, each in a folder of its own below .lumni/peers, at a pinned version.

Bifrost and TensorZero are missing. TensorZero is published as container images. The Go proxy did not serve Bifrost's modules
when this was written, and its command of npm fetches a binary from elsewhere, which nothing here could pin.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".lumni" / "peers"
LITELLM_VERSION, PORTKEY_VERSION = "1.106.2", "1.15.2"
# Portkey's gateway names no version of its HTTP server; with a newer one its streams fail on headers that are immutable.
PORTKEY_SERVER = "@hono/node-server@1.11.0"
INSTALL_S = 900


class Absent(Exception):
    """A gateway is not here, and why it cannot be."""


def litellm() -> Path:
    """The command of LiteLLM's proxy, in an environment of its own.

    Raises:
        Absent: it cannot be installed.
    """
    folder = FOLDER / f"litellm-{LITELLM_VERSION}"
    command = folder / "bin" / "litellm"
    if not command.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)])
        package = f"litellm[proxy]=={LITELLM_VERSION}"
        _run([uv, "pip", "install", "--quiet", package], {"VIRTUAL_ENV": str(folder)})
    return command


def portkey() -> Path:
    """The script that starts Portkey's gateway.

    Raises:
        Absent: there is no npm, or it cannot be installed.
    """
    folder = FOLDER / f"portkey-{PORTKEY_VERSION}"
    script = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Absent("Portkey's gateway needs Node with npm")
        quiet = ("--no-audit", "--no-fund", "--silent", "--legacy-peer-deps")
        package = f"@portkey-ai/gateway@{PORTKEY_VERSION}"
        _run([npm, "install", *quiet, "--prefix", str(folder), package, PORTKEY_SERVER])
    return script


def _run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command,
            env=os.environ | (environ or {}),
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Absent(f"{Path(command[0]).name} was not ready after {INSTALL_S} s") from error
    if done.returncode != 0:
        raise Absent(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")

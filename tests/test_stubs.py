"""The committed stubs are what the contract compiles to."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".pyi")
    }


def test_the_committed_stubs_are_fresh(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "stubs", str(tmp_path)], check=True, cwd=ROOT, timeout=60)

    assert contents(tmp_path) == contents(ROOT / "protos" / "gen"), "run scripts/stubs"

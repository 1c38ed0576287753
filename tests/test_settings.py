"""Every variable is documented, with its default."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_example_names_every_variable() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "env_example.py"))

    assert script["render"]() == (ROOT / ".env.example").read_text(), "run scripts/env_example.py"

"""What is left in the executor's environment for the libraries that read it."""

from pathlib import Path

import pytest

from services.chassis.config import Mistakes
from services.executor.environment import seclude


def test_provider_keys_leave_the_environment() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": "http://evil",
        "GROQ_API_BASE": "http://evil",
        "HOME": "/root",
    }

    taken = seclude(environ)

    assert environ == {"HOME": "/root"}
    assert taken["OPENAI_API_KEY"] == "sk-1"


def test_a_provider_key_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "openai").write_text("sk-1\n")
    environ = {"OPENAI_API_KEY_FILE": str(tmp_path / "openai"), "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}

    taken = seclude(environ)

    assert "sk-1" == taken["OPENAI_API_KEY"]
    assert {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"} == environ
    with pytest.raises(Mistakes, match="GROQ_API_KEY_FILE: /none cannot be read"):
        seclude({"GROQ_API_KEY_FILE": "/none"})

"""Settings from the environment."""

import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.chassis import config
from services.chassis.config import Mistakes, Secret, Secrets, part, variable


@dataclass(frozen=True)
class Inner:
    limit: int = variable("T_LIMIT", 3, "how many")


@dataclass(frozen=True)
class Settings:
    key: Secret = variable("T_KEY", doc="the key")
    share: float = variable("T_SHARE", 0.5, "a share")
    on: bool = variable("T_ON", default=True, doc="a switch")
    words: tuple[str, ...] = variable("T_WORDS", (), "a list")
    where: Path = variable("T_WHERE", Path("here"), "a place")
    inner: Inner = part()


def test_settings_are_read_by_their_types() -> None:
    settings = config.from_environ(
        Settings, {"T_KEY": "k", "T_SHARE": "0.25", "T_ON": "off", "T_WORDS": "a, b", "T_LIMIT": "7"}
    )

    assert (
        Settings(
            key=Secret("k"), share=0.25, on=False, words=("a", "b"), where=Path("here"), inner=Inner(limit=7)
        )
        == settings
    )


def test_every_mistake_is_named_at_once_and_no_value_is_shown() -> None:
    with pytest.raises(Mistakes) as caught:
        config.from_environ(Settings, {"T_SHARE": "hunter2", "T_LIMIT": "many", "T_ON": "perhaps"})

    text = "\n".join(caught.value.lines)
    assert {"T_KEY", "T_SHARE", "T_LIMIT", "T_ON"} == {line.split(":")[0] for line in caught.value.lines}
    assert "hunter2" not in text
    assert "T_LIMIT: expected a whole number (how many)" in caught.value.lines


def test_an_empty_variable_is_an_unset_one() -> None:
    settings = config.from_environ(Settings, {"T_KEY": "k", "T_SHARE": ""})

    assert settings.share == 0.5


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("sk-canary")

    assert "canary" not in f"{secret} {secret!r} {[secret]} {Settings(key=secret, inner=Inner())}"
    assert secret.reveal() == "sk-canary"


def test_a_process_that_cannot_start_names_every_mistake_and_leaves_with_2() -> None:
    done = start({"LUMNI_REFLECTION": "perhaps", "LUMNI_REQUEST_TIMEOUT_S": "soon"})

    assert done.returncode == 2
    assert "lumni: LUMNI_REFLECTION: expected true or false" in done.stderr
    assert "lumni: LUMNI_REQUEST_TIMEOUT_S: expected a number" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_beyond_loopback_is_refused_at_start() -> None:
    done = start({"LUMNI_LISTEN": "0.0.0.0:0"})

    assert done.returncode == 2
    assert "set LUMNI_SERVICE_TOKEN" in done.stderr


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = start({"LUMNI_LISTEN": listen})

    assert done.returncode == 2
    assert f"lumni: LUMNI_LISTEN: {listen} cannot be bound" in done.stderr


def start(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the selector, which needs the least, until it leaves."""
    return subprocess.run(
        [sys.executable, "-m", "services.selector"],
        env={"PATH": "", **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )


@dataclass(frozen=True)
class Rotated:
    key: Secrets = variable("T_KEY", doc="the key")


def test_a_secret_that_replaces_another_is_used_and_both_are_accepted() -> None:
    key = config.from_environ(Rotated, {"T_KEY": "new, old"}).key

    assert "new" == key.reveal()
    assert (Secret("new"), Secret("old")) == key.accepted
    assert Secrets("new,old") == key != Secrets("new")
    assert not Secrets("").accepted


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-canary\n")
    environ = {
        "LUMNI_KEY_FILE": str(tmp_path / "key"),
        "REDIS_URL_FILE": "",
        "AWS_TOKEN_FILE": "/t",
        "LUMNI_A": "b",
    }

    assert {"LUMNI_KEY": "sk-canary", "AWS_TOKEN_FILE": "/t", "LUMNI_A": "b"} == config.environment(environ)


def test_a_file_that_cannot_be_read_is_named_and_so_is_a_value_that_is_given_twice(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff")
    with pytest.raises(Mistakes) as caught:
        config.environment(
            {
                "LUMNI_A_FILE": str(tmp_path / "none"),
                "X_API_KEY_FILE": str(tmp_path / "picture"),
                "REDIS_URL_FILE": "/x",
                "REDIS_URL": "redis://hunter2",
            }
        )

    assert [
        f"LUMNI_A_FILE: {tmp_path}/none cannot be read: No such file or directory",
        f"X_API_KEY_FILE: {tmp_path}/picture cannot be read: not UTF-8",
        "REDIS_URL and REDIS_URL_FILE: set one of them",
    ] == caught.value.lines

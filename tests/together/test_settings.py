"""What a process of several services reads from its environment."""

import os
import subprocess
import sys

import pytest

from services.chassis import rpc
from services.chassis.config import Mistakes
from services.together.settings import BEHIND, read

NEEDED = {
    "DATABASE_URL": "postgresql://db/lumni",
    "REDIS_URL": "redis://gateway@valkey",
    "LUMNI_ADMIN_KEY": "sk-lumni-admin",
}


def test_all_are_inside_and_without_a_socket_unless_said_otherwise() -> None:
    settings = read(NEEDED)

    assert list(BEHIND) == list(settings.behind)
    assert {rpc.INPROC} == {own.listen for own in settings.behind.values()}
    gateway = settings.gateway
    assert {rpc.INPROC} == {gateway.classifier, gateway.selector, gateway.executor}
    assert "127.0.0.1:50050" == gateway.listen


def test_what_has_an_address_is_elsewhere() -> None:
    settings = read({**NEEDED, "LUMNI_EXECUTOR": "dns:///executor:50053"})

    assert ["selector", "classifier"] == list(settings.behind)
    assert "dns:///executor:50053" == settings.gateway.executor


def test_each_service_has_an_address_and_a_user_of_redis_of_its_own() -> None:
    settings = read(
        {
            **NEEDED,
            "LUMNI_LISTEN": "127.0.0.1:1",
            "LUMNI_SELECTOR_LISTEN": "127.0.0.1:2",
            "LUMNI_EXECUTOR_REDIS_URL": "redis://executor@valkey",
        }
    )

    behind = settings.behind
    assert ("127.0.0.1:1", "127.0.0.1:2") == (settings.gateway.listen, behind["selector"].listen)
    assert rpc.INPROC == behind["executor"].listen
    assert "redis://executor@valkey" == behind["executor"].redis_url
    assert NEEDED["REDIS_URL"] == behind["selector"].redis_url.reveal()


def test_mistakes_of_all_services_are_named_and_each_once() -> None:
    environ = {
        **NEEDED,
        "DATABASE_URL": "",
        "LUMNI_REQUEST_TIMEOUT_S": "soon",
        "LUMNI_PROBE_S": "often",
        "LUMNI_CLASSIFIER_THRESHOLD": "high",
    }
    with pytest.raises(Mistakes) as caught:
        read(environ)

    named = [line.partition(":")[0] for line in caught.value.lines]
    assert ["DATABASE_URL", "LUMNI_CLASSIFIER_THRESHOLD", "LUMNI_PROBE_S"] == sorted(
        name for name in named if name != "LUMNI_REQUEST_TIMEOUT_S"
    )
    assert 1 == named.count("LUMNI_REQUEST_TIMEOUT_S")


def test_a_socket_beyond_loopback_needs_the_service_token_inside_too() -> None:
    with pytest.raises(Mistakes, match="LUMNI_SERVICE_TOKEN"):
        read({**NEEDED, "LUMNI_SELECTOR_LISTEN": "0.0.0.0:50052"})


def test_a_service_by_itself_says_where_inproc_belongs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.classifier"],
        env={"PATH": os.environ["PATH"], "LUMNI_LISTEN": rpc.INPROC},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert 2 == done.returncode
    assert "LUMNI_LISTEN: inproc: is for services.together" in done.stderr

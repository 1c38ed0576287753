"""Private addresses by their spelling."""

import pytest

from services.chassis import addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:11434",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000",
        "http://10.20.0.4/v1",
        "http://192.168.1.7:1234/v1",
        "http://100.64.0.3/v1",
        "http://vllm:8000/v1",
        "http://host.docker.internal:11434",
        "http://llm.models.svc.cluster.local:8000",
        "https://gpu-box.lan/v1",
    ],
)
def test_what_lies_in_the_operators_own_network_is_private(url: str) -> None:
    assert addresses.is_private(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://8.8.8.8/v1",
        "https://internal.example.com",
        "https://local.example",
        "http://[bad",
        "",
    ],
)
def test_what_may_be_anybodys_is_not(url: str) -> None:
    assert not addresses.is_private(url)

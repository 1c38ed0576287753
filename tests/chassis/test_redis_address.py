"""Addresses of Redis: one server, a cluster, servers that Sentinel watches."""

from urllib.parse import quote

import pytest
from redis.asyncio.connection import parse_url

from services.chassis import redis, redis_address
from services.chassis.redis_address import Kind


@pytest.mark.parametrize(
    "url", ["redis://h:1/2", "rediss://u:p@h?ssl_ca_certs=/ca.pem", "unix:///run/valkey"]
)
def test_one_server_keeps_its_url(url: str) -> None:
    address = redis_address.parse(url)

    assert (Kind.SINGLE, url) == (address.kind, address.url)


def test_a_cluster_names_some_of_its_servers() -> None:
    address = redis_address.parse("rediss+cluster://u:p%40@a:1,b,[::1]:3/?ssl_ca_certs=%2Fca.pem")

    assert Kind.CLUSTER == address.kind
    assert (("a", 1), ("b", 6379), ("::1", 3)) == address.nodes
    assert "rediss://u:p%40@[::1]:3?ssl_ca_certs=%2Fca.pem" == address.url_of(address.nodes[2])


def test_sentinels_have_a_name_for_the_servers_and_a_password_of_their_own() -> None:
    address = redis_address.parse(
        "redis+sentinel://u:p@a,b:2/lumni?db=1&sentinel_password=s&socket_timeout=3"
    )

    assert (Kind.SENTINEL, "lumni") == (address.kind, address.service)
    assert (("a", 26379), ("b", 2)) == address.nodes
    assert "redis://u:p@c:3?db=1&socket_timeout=3" == address.url_of(("c", 3))
    assert "redis://:s@a:26379?socket_timeout=3" == address.sentinel_url_of(address.nodes[0])


@pytest.mark.parametrize("secret", ["a%2Fb", "%", "a/b:c@d?e#f"])
def test_the_user_and_password_of_sentinels_may_have_any_characters(secret: str) -> None:
    query = f"sentinel_username={quote(secret, safe='')}&sentinel_password={quote(secret, safe='')}"
    address = redis_address.parse(f"redis+sentinel://a/lumni?{query}")

    read = parse_url(address.sentinel_url_of(("a", 1)))

    assert (secret, secret, "a", 1) == (read["username"], read["password"], read["host"], read["port"])


@pytest.mark.parametrize(
    "url",
    [
        "http://canary@h",
        "redis+ring://canary@h",
        "unix+cluster://canary@h",
        "redis+cluster://:canary@",
        "redis+cluster://:canary@h/3",
        "redis+cluster://:canary@h:port",
        "redis+sentinel://:canary@h:1",
        "redis+sentinel://:canary@h:1/a/b",
    ],
)
def test_a_wrong_address_names_the_setting_and_not_the_password(url: str) -> None:
    with pytest.raises(ValueError, match="REDIS_URL") as caught:
        redis.check_url(url)

    assert "canary" not in str(caught.value)

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from services.executor.engines.image_parts import remote
from services.executor.engines.images import LARGEST, Images
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.public_addresses import is_public

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A web site, by a name that resolves to loopback."""

    async def picture(request: web.Request) -> web.Response:
        return web.Response(body=PNG, content_type="image/png")

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<p>no picture</p>", content_type="text/html")

    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=b"0" * (LARGEST + 1), content_type="image/png")

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=b"0" * (LARGEST - 1), content_type="image/png")

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    app = web.Application()
    app.add_routes(
        [
            web.get("/cat.png", picture),
            web.get("/page", page),
            web.get("/huge", huge),
            web.get("/large", large),
            web.get("/away", away),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    yield f"http://cats.example:{runner.addresses[0][1]}"
    await runner.cleanup()


async def loopback(host: str) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
async def images() -> AsyncIterator[Images]:
    """A fetcher for which loopback is public."""
    images = Images(loopback, lambda address: address == "127.0.0.1")
    yield images
    await images.aclose()


async def inlined(images: Images, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """A body made ready, by a call that ends at once."""
    with images.lease() as lease:
        return await images.inlined(given, lease)


def body(url: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "Look."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "?"},
                    {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
                ],
            },
        ]
    }


async def test_a_remote_picture_becomes_its_bytes(images: Images, site: str) -> None:
    made = await inlined(images, body(f"{site}/cat.png"))

    part = made["messages"][1]["content"][1]
    assert part["image_url"] == {
        "url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        "detail": "low",
    }
    assert made["messages"][0] == {"role": "system", "content": "Look."}


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "user",
            "content": [
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,AAAA", "file_id": "{url}"},
                }
            ],
        },
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "{url}"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "{url}"}]},
        {"role": "assistant", "images": [{"type": "image_url", "image_url": {"url": "{url}"}}]},
    ],
    ids=str,
)
async def test_an_address_is_found_wherever_it_is_put(
    message: dict[str, Any], images: Images, site: str
) -> None:
    text = orjson.dumps({"messages": [message]}).replace(b"{url}", f"{site}/cat.png".encode())

    made = orjson.dumps(await inlined(images, orjson.loads(text)))

    assert b"://" not in made
    assert base64.b64encode(PNG) in made


async def test_pictures_are_bounded_together(images: Images, site: str) -> None:
    parts = [{"type": "image_url", "image_url": {"url": f"{site}/large?{number}"}} for number in range(3)]

    with pytest.raises(Failed, match="together"):
        await inlined(images, {"messages": [{"role": "user", "content": parts}]})


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": None}, "image_url"),
        ({"type": "image_url", "image_url": 7}, "image_url"),
        ({"type": "image_url", "image_url": []}, "image_url"),
        ({"type": "image_url", "image_url": ""}, "image_url"),
        ({"type": "image_url", "image_url": {}}, "image_url"),
        ({"type": "image_url", "image_url": {"url": 7}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": None}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": ""}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:,x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": "http://["}, "image_url"),
        ({"type": "file", "file": {"filename": "x"}}, "file"),
        ({"type": "file", "file": {"file_data": ["x"]}}, "file.file_data"),
        ({"type": "file", "file": {"file_data": "http://x:99999999"}}, "file.file_data"),
    ],
    ids=str,
)
async def test_a_part_that_holds_no_address_is_refused_by_its_field(
    part: dict[str, Any], field: str, images: Images
) -> None:
    with pytest.raises(Failed) as caught:
        await inlined(images, {"messages": [{"role": "user", "content": [part]}]})

    assert ErrorClass.BAD_REQUEST is caught.value.error
    assert f"messages[0].content[0].{field}" == caught.value.param


VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["image_url", "file", "http://[", "data:", "x", "\ud7ff://"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("content images type image_url file video_url url file_data file_id".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(VALUES)
def test_no_body_is_too_strange_to_be_looked_through(messages: Any) -> None:
    with suppress(Failed):
        remote({"messages": messages})


async def test_a_picture_that_is_here_already_is_left_alone(images: Images) -> None:
    given = body("data:image/png;base64,AAAA")

    assert await inlined(images, given) is given


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/huge",
        "/missing",
        "/away?to=http://10.0.0.1/x.png",
        "/away?to=file:///etc/passwd",
        "/away?to=/away?to=/cat.png",
    ],
)
async def test_what_gives_no_picture_is_refused(path: str, images: Images, site: str) -> None:
    if path.endswith("/cat.png"):
        assert await inlined(images, body(site + path))
        return
    with pytest.raises(Failed) as caught:
        await inlined(images, body(site + path))

    assert caught.value.error is ErrorClass.BAD_REQUEST
    assert caught.value.param == "messages[1].content[1].image_url.url"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "http://[::1]/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/x.png",
        "http://2130706433/x.png",
        "http://localhost/x.png",
        "http://user:secret@example.com/x.png",
        "file:///etc/passwd",
        "gs://bucket/x.png",
        "ftp://example.com/x.png",
    ],
)
async def test_nothing_inside_our_network_is_ever_fetched(url: str) -> None:
    images = Images()
    try:
        with pytest.raises(Failed) as caught:
            await inlined(images, body(url))
    finally:
        await images.aclose()

    assert caught.value.error is ErrorClass.BAD_REQUEST
    assert "secret" not in caught.value.message


async def test_a_name_that_leads_inside_is_refused_even_among_public_ones() -> None:
    async def both(host: str) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    images = Images(both)
    try:
        with pytest.raises(Failed, match="no public address"):
            await inlined(images, body("http://rebind.example/x.png"))
    finally:
        await images.aclose()


async def test_all_calls_share_a_bound_on_the_pictures_they_hold(site: str) -> None:
    images = Images(loopback, lambda address: address == "127.0.0.1", held_together=2 * LARGEST)
    given = body(f"{site}/large")
    try:
        with images.lease() as first, images.lease() as second, images.lease() as third:
            await images.inlined(given, first)
            await images.inlined(given, second)
            with pytest.raises(Failed, match="too many pictures") as caught:
                await images.inlined(given, third)
        await inlined(images, given)
    finally:
        await images.aclose()

    assert ErrorClass.BUSY is caught.value.error
    assert caught.value.retry_after_s


async def test_a_call_that_fails_gives_back_what_its_pictures_took(site: str) -> None:
    images = Images(loopback, lambda address: address == "127.0.0.1", held_together=2 * LARGEST)
    parts = [{"type": "image_url", "image_url": f"{site}/{name}"} for name in ("large", "missing", "huge")]
    try:
        for _ in range(3):
            with pytest.raises(Failed) as caught:
                await inlined(images, {"messages": [{"role": "user", "content": parts}]})
            assert ErrorClass.BAD_REQUEST is caught.value.error
        with images.lease() as all_of_it:
            assert all_of_it.take(2 * LARGEST)
    finally:
        await images.aclose()


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_what_is_routed_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        # The metadata and wire servers of Azure, Alibaba, AWS and Google.
        "168.63.129.16",
        "100.100.100.200",
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        # Forms that hold an IPv4 address: mapped, translated, compatible, NAT64, 6to4, Teredo, ISATAP.
        "::ffff:127.0.0.1",
        "::ffff:168.63.129.16",
        "::ffff:0:7f00:1",
        "::ffff:0:808:808",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::1",
        "fe80::5efe:7f00:1",
        "::",
        "::1",
        "100::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_inside_reserved_or_wraps_another_address_is_not_public(address: str) -> None:
    assert not is_public(address)

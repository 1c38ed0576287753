import base64
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from services.executor.engines.images import LARGEST, Images, is_public
from services.executor.engines.outcomes import ErrorClass, Failed

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
    inlined = await images.inlined(body(f"{site}/cat.png"))

    part = inlined["messages"][1]["content"][1]
    assert part["image_url"] == {
        "url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        "detail": "low",
    }
    assert inlined["messages"][0] == {"role": "system", "content": "Look."}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:x", "file_id": "{url}"}}]},
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

    inlined = orjson.dumps(await images.inlined(orjson.loads(text)))

    assert b"://" not in inlined
    assert base64.b64encode(PNG) in inlined


async def test_pictures_are_bounded_together(images: Images, site: str) -> None:
    parts = [{"type": "image_url", "image_url": {"url": f"{site}/large?{number}"}} for number in range(3)]

    with pytest.raises(Failed, match="together"):
        await images.inlined({"messages": [{"role": "user", "content": parts}]})


async def test_a_picture_that_is_here_already_is_left_alone(images: Images) -> None:
    given = body("data:image/png;base64,AAAA")

    assert await images.inlined(given) is given


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
        assert await images.inlined(body(site + path))
        return
    with pytest.raises(Failed) as caught:
        await images.inlined(body(site + path))

    assert caught.value.error is ErrorClass.BAD_REQUEST
    assert caught.value.param == "messages"


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
            await images.inlined(body(url))
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
            await images.inlined(body("http://rebind.example/x.png"))
    finally:
        await images.aclose()


def test_only_the_public_internet_is_public() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")
    for inside in (
        "10.1.2.3",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "::7f00:1",
        "224.0.0.1",
    ):
        assert not is_public(inside)

"""One organization that sends as much as it can, with all its keys and on both surfaces: python -m tests.attacks.greedy_tenant.

Its requests take all places there are and queue for more. Another organization's requests are all answered meanwhile,
and what is refused is refused with a time to come back.
"""

import asyncio
from collections import Counter

import aiohttp
import grpc
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from tests.attacks import target as targets
from tests.attacks.clients import Request, p99
from tests.attacks.target import Target, rounds

NAME = "a greedy tenant"
KEYS = 4
# Requests at once, on each surface; both together are more than a gateway's places.
AT_ONCE = 300
# An address of loopback that is not the honest clients'.
ELSEWHERE = "127.0.0.3"
CHAT = {"model": "slow", "messages": [{"role": "user", "content": "one two three"}]}
PATIENCE_S = 60
# After a refusal: sooner than it was told, in seconds.
RETRY_S = 0.5
# Whoever is refused on gRPC is refused with one of these.
REFUSALS = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Send so many requests at once all the time, beside one honest client."""
    loop = asyncio.get_running_loop()
    keys = [await target.make_key() for _ in range(KEYS)]
    ends = loop.time() + seconds
    endings: Counter[str] = Counter()
    honest: list[Request] = []

    async def honestly(session: aiohttp.ClientSession) -> None:
        headers = {"authorization": f"Bearer {await target.make_key('honest')}"}
        while len(honest) < 5 or loop.time() < ends:
            began = loop.time()
            async with session.post(
                f"{target.rest}/v1/chat/completions", json=CHAT, headers=headers
            ) as answer:
                text = await answer.text()
            assert answer.status == 200, text
            honest.append(Request(began, (loop.time() - began) * 1000, "200"))

    async def by_rest(session: aiohttp.ClientSession, key: str) -> None:
        body = {**CHAT, "stream": True}
        headers = {"authorization": f"Bearer {key}"}
        for _ in rounds(ends):
            try:
                async with session.post(
                    f"{target.rest}/v1/chat/completions", json=body, headers=headers
                ) as answer:
                    text = await answer.text()
            except aiohttp.ClientConnectionError:
                # The server takes only so many connections of an address.
                endings["no connection"] += 1
                await asyncio.sleep(RETRY_S)
                continue
            endings[str(answer.status)] += 1
            if answer.status != 200:
                assert answer.status in (429, 503), text
                assert int(answer.headers["retry-after"]) >= 1
                await asyncio.sleep(RETRY_S)

    async def by_grpc(stub: gateway_pb2_grpc.GatewayServiceStub, key: str) -> None:
        ask = gateway_pb2.AskRequest(prompt="one two three", model="slow")
        for _ in rounds(ends):
            try:
                await stub.Ask(ask, metadata=(("authorization", f"Bearer {key}"),), timeout=PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                if error.code().name not in REFUSALS:
                    raise AssertionError(f"gRPC ended with {error.code().name}") from error
                endings[error.code().name] += 1
                await asyncio.sleep(RETRY_S)
            else:
                endings["OK"] += 1

    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    elsewhere = aiohttp.TCPConnector(limit=AT_ONCE, local_addr=(ELSEWHERE, 0))
    async with (
        aiohttp.ClientSession(timeout=timeout) as near,
        aiohttp.ClientSession(timeout=timeout, connector=elsewhere) as far,
        grpc.aio.insecure_channel(target.grpc) as channel,
        asyncio.TaskGroup() as group,
    ):
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        group.create_task(honestly(near))
        for i in range(AT_ONCE):
            group.create_task(by_rest(far, keys[i % KEYS]))
            group.create_task(by_grpc(stub, keys[i % KEYS]))
    answered = f"all of the {len(honest)} requests of another were answered, 99 % within {p99(honest):.0f} ms"
    return [
        f"{2 * AT_ONCE} requests at once of one organization ended {dict(endings.most_common())}; {answered}",
        "every refusal is a 429 or a 503 with retry-after",
    ]


if __name__ == "__main__":
    targets.alone(NAME, attack)

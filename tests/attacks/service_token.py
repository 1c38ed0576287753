"""Call the services behind the gateway without their token: python -m tests.attacks.service_token.

Whoever may call the executor has answers made at the providers' cost and books them to any user. This calls every RPC of
classifier, selector and executor as any process of the machine could, with each mistake of a token.
"""

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis.rpc.settings import TOKEN_KEY
from tests.attacks.target import Target, alone
from tests.faults.cluster import SERVICE_TOKEN

NAME = "the services behind the gateway"
DESCRIPTORS = {
    "classifier": classifier_pb2.DESCRIPTOR,
    "selector": selector_pb2.DESCRIPTOR,
    "executor": executor_pb2.DESCRIPTOR,
}
CALL_S = 10.0


def methods(service: str) -> Iterator[MethodDescriptor]:
    """Every RPC of a service."""
    for described in DESCRIPTORS[service].services_by_name.values():
        yield from described.methods


def mistakes(token: str) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Metadata that must open nothing, by what is wrong with it."""
    return {
        "no token": (),
        "an empty token": ((TOKEN_KEY, ""),),
        "another token": ((TOKEN_KEY, "x" * len(token)),),
        "the beginning of the token": ((TOKEN_KEY, token[:-1]),),
        "the token as a key": (("authorization", f"Bearer {token}"),),
    }


def forged(method: MethodDescriptor) -> Message:
    """A request that would book to somebody else."""
    request: Message = GetMessageClass(method.input_type)()
    if "context" in method.input_type.fields_by_name:
        request.context.user_id = "somebody-else"  # type: ignore[attr-defined]
    return request


async def outcome(channel: Any, method: MethodDescriptor, metadata: tuple[tuple[str, str], ...]) -> str:
    """The name of the status that a call ends with."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request = forged(method).SerializeToString()
    try:
        if method.server_streaming:
            async for _ in channel.unary_stream(path)(request, metadata=metadata, timeout=CALL_S):
                pass
        else:
            await channel.unary_unary(path)(request, metadata=metadata, timeout=CALL_S)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


async def wrong(addresses: Mapping[str, str], token: str) -> list[str]:
    """Call every RPC with every mistake; what was answered and should not have been, or the other way round.

    Args:
        addresses: The gRPC address of each service.
        token: The right one, for the mistakes are made of it.
    """
    found = []
    for service in DESCRIPTORS:
        async with grpc.aio.insecure_channel(addresses[service]) as channel:
            for method in methods(service):
                for mistake, metadata in mistakes(token).items():
                    code = await outcome(channel, method, metadata)
                    if code != "UNAUTHENTICATED":
                        found.append(f"{service} answers {method.name} with {mistake}: {code}")
                if await outcome(channel, method, ((TOKEN_KEY, token),)) == "UNAUTHENTICATED":
                    found.append(f"{service} refuses {method.name} with the token")
    return found


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Call everything over and over."""
    addresses = {name.partition("-")[0]: address for name, address in target.internal.items()}
    ends = monotonic() + seconds
    rounds = 0
    while rounds == 0 or monotonic() < ends:
        found = await wrong(addresses, SERVICE_TOKEN)
        assert not found, found
        rounds += 1
    calls = (
        rounds * len(mistakes(SERVICE_TOKEN)) * sum(1 for service in DESCRIPTORS for _ in methods(service))
    )
    return [f"{calls} calls of classifier, selector and executor without their token were refused"]


if __name__ == "__main__":
    alone(NAME, attack)

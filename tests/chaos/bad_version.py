"""A version that serves and answers every call with INTERNAL: python -m tests.chaos.bad_version classifier.

It takes the settings of the service whose name it is given, and is healthy as far as health checks can tell.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from lumni.classifier.v1 import classifier_pb2_grpc
from lumni.executor.v1 import executor_pb2_grpc
from lumni.selector.v1 import selector_pb2_grpc

from services.chassis import config, errors, rpc

SERVED: Mapping[str, tuple[str, Any]] = {
    "classifier": (
        "lumni.classifier.v1.ClassifierService",
        classifier_pb2_grpc.add_ClassifierServiceServicer_to_server,
    ),
    "selector": (
        "lumni.selector.v1.SelectorService",
        selector_pb2_grpc.add_SelectorServiceServicer_to_server,
    ),
    "executor": (
        "lumni.executor.v1.ExecutorService",
        executor_pb2_grpc.add_ExecutorServiceServicer_to_server,
    ),
}


class _Broken:
    """Has every method of every service."""

    def __getattr__(self, name: str) -> Any:
        return _fail_streaming if name == "StreamExecute" else _fail


async def _fail(request: Any, context: Any) -> Any:
    raise errors.Internal("the bad version of a drill")


async def _fail_streaming(request: Any, context: Any) -> AsyncIterator[Any]:
    yield await _fail(request, context)


async def main(service: str) -> None:
    """Serve until stopped."""
    settings = config.from_environ(rpc.Settings, os.environ)
    name, add = SERVED[service]
    async with rpc.serve(os.environ["LUMNI_LISTEN"], settings, [rpc.Service(name, add, _Broken())]):
        await rpc.until_stopped()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

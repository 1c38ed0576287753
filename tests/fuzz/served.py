"""Classifier, selector and executor in this process, on real sockets, as a fuzzer needs them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import yaml
from lumni.classifier.v1 import classifier_pb2_grpc
from lumni.selector.v1 import selector_pb2_grpc

from services.chassis import rpc
from services.chassis.config import from_environ
from services.chassis.rpc.settings import MAX_MESSAGE
from services.chassis.telemetry import Settings as Telemetry
from services.classifier import heads
from services.classifier.__main__ import SERVICE as CLASSIFIER
from services.classifier.classify import Classifier, Versions
from services.classifier.embedding import Embedder
from services.classifier.servicer import ClassifierServicer
from services.executor import __main__ as executor
from services.executor.settings import Settings as Executor
from services.selector.__main__ import SERVICE as SELECTOR
from services.selector.configuration import Configuration
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.health import Health
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.outcome_learning import OutcomeLearning
from services.selector.servicer import SelectorServicer
from tests import simulator

WEIGHTS = Path(heads.__file__).parent / "weights" / "v1.npz"
MODELS = ("small", "large", "claude", "gemini")
DEPLOYMENTS = tuple(f"{model}@sim" for model in MODELS)
# One deployment for each provider that the direct engine translates for.
_SIMULATED = {
    "small": ("openai/small", "/v1"),
    "large": ("openai/large", "/v1"),
    "claude": ("anthropic/claude-haiku-4-5", ""),
    "gemini": ("gemini/gemini-2.5-flash", "/v1beta"),
}


def configure(folder: Path, url: str) -> None:
    """Write a configuration of deployments on the simulator at `url`."""
    listed = [
        {
            "model_name": model,
            "litellm_params": {"model": name, "api_base": url + path, "api_key": "os.environ/SIMULATOR_KEY"},
            "model_info": {
                "id": f"{model}@sim",
                "input_cost_per_token": 1e-6,
                "output_cost_per_token": 4e-6,
                "max_input_tokens": 8192,
                "access_groups": ["all"],
            },
        }
        for model, (name, path) in _SIMULATED.items()
    ]
    # No breaker may open: what the fuzzer sends is to reach the provider, however often that refuses it.
    config = {
        "model_list": listed,
        "router_settings": {"num_retries": 0, "timeout": 10, "allowed_fails": 10**6},
    }
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(config))
    (folder / "lumni.yaml").write_text(
        "default_plan: open\nplans: {open: {access_groups: [all], max_output_tokens: 64}}\n"
    )


@asynccontextmanager
async def classifier() -> AsyncIterator[str]:
    """The address of a classifier."""
    servicer = ClassifierServicer(Versions([(Classifier(heads.load(WEIGHTS), Embedder()), 1.0)]))
    service = rpc.Service(
        CLASSIFIER,
        classifier_pb2_grpc.add_ClassifierServiceServicer_to_server,
        servicer,
        longest=rpc.MAX_QUESTION,
    )
    async with rpc.serve("127.0.0.1:0", rpc.Settings(), [service]) as address:
        yield address


@asynccontextmanager
async def selector(folder: Path) -> AsyncIterator[str]:
    """The address of a selector over the deployments of `configure`."""
    configure(folder, "http://127.0.0.1:9")
    servicer = SelectorServicer(
        Configuration(folder),
        Health(),
        PowerfulShares(),
        RecentUsage(3600, spreads=True),
        OutcomeLearning(LearnedEvidence(), ExplorationBounds()),
    )
    service = rpc.Service(
        SELECTOR, selector_pb2_grpc.add_SelectorServiceServicer_to_server, servicer, longest=rpc.MAX_QUESTION
    )
    async with rpc.serve("127.0.0.1:0", rpc.Settings(), [service]) as address:
        yield address


@asynccontextmanager
async def executor_and_provider(folder: Path) -> AsyncIterator[str]:
    """The address of an executor whose provider is the simulator; nothing is published."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(simulator.running())
        configure(folder, provider.url)
        settings = Executor(
            listen="127.0.0.1:0",
            config_dir=folder,
            state_dir=folder / "state",
            redis_url="",
            server=rpc.Settings(timeout_s=30),
            telemetry=from_environ(Telemetry, {}),
        )
        yield await stack.enter_async_context(
            executor.serving(settings, environ={"SIMULATOR_KEY": "sk-sim-canary"})
        )


def channel(address: str) -> grpc.aio.Channel:
    """A channel whose messages may be as long as ours."""
    longest = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
    ]
    return grpc.aio.insecure_channel(address, longest)

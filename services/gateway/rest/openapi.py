"""What the OpenAPI document says of the dispatcher's routes, which no framework knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

# By which other paths clients of other gateways and clouds reach the same routes; `client_dialects` finds them.
DESCRIPTION = """One endpoint, in OpenAI's and Anthropic's formats, in front of every provider.

Each path below `/v1` is reached without `/v1`, below `/openai/v1`, with a slash at its end, and, where it calls a
model, at Azure's `/openai/deployments/{model}/...`, whose model goes before that of the body. `HEAD` is answered where
there is `GET`, `OPTIONS` everywhere.

The key is a bearer key in `Authorization`, or stands in `x-api-key`, `api-key`, `x-portkey-api-key` or
`x-litellm-api-key`.

`/v1/files` and `/v1/batches` answer 404 `not_supported` with the reason."""


def with_inference(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of FastAPI's with the routes of `openapi.yaml` before its own."""
    own = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    components = document.get("components", {})
    return {
        **document,
        "paths": {**own["paths"], **document["paths"]},
        "components": {
            **components,
            **{kind: {**components.get(kind, {}), **named} for kind, named in own["components"].items()},
        },
    }

"""What the OpenAPI document says of the dispatcher's routes, which no framework knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


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

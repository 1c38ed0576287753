"""The executor gets the answer: it calls the providers of the candidates that the gateway admitted, one by one.

Only here do provider keys and LiteLLM exist. Every attempt is recorded in usage events, whatever happens to it.
"""

import os

# Before anything here imports LiteLLM, or it reaches for its price map over the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ.setdefault("LITELLM_LOG", "CRITICAL")

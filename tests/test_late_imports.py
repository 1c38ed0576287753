"""What few installations use is loaded where it is used: each process has less memory, and starts sooner."""

import subprocess
import sys

SERVICES = ("classifier", "selector", "executor", "gateway")
# Exporters of spans and what they send with; the client and the tokens of sign-in and feedback; LiteLLM, which is
# imported once the settings hold.
LATE = ("opentelemetry.exporter", "requests", "httpx", "joserfc", "litellm", "openai")


def test_no_service_loads_what_its_settings_may_not_ask_for() -> None:
    program = f"""
import importlib, sys
for name in {SERVICES}:
    importlib.import_module(f"services.{{name}}.__main__")
print(*(name for name in {LATE} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )

    assert "" == done.stdout.strip()

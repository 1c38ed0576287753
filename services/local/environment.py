"""What each service may see of the environment: provider keys are for the executor, stores for the gateway."""

from collections.abc import Mapping

# Variables that any program may need.
COMMON = frozenset(
    "PATH HOME USER LANG TZ TMPDIR VIRTUAL_ENV PYTHONPATH PYTHONWARNINGS SSL_CERT_FILE SSL_CERT_DIR HTTP_PROXY "
    "HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy".split()
)
# They say where spans go.
OBSERVED_BY = ("OTEL_", "PORTKEY_API_KEY")
# Those of the gateway and its ledger, and those of the executor with the model it calls.
GATEWAY_ONLY = frozenset("DATABASE_URL LUMNI_API_KEY LUMNI_ADMIN_KEY LUMNI_KEY_SECRET".split())
EXECUTOR_ONLY = ("LUMNI_LOCAL_MODEL_",)


def for_executor(environ: Mapping[str, str]) -> dict[str, str]:
    """Everything, provider keys above all, but the database and the keys of Lumni's own callers."""
    return {name: value for name, value in environ.items() if name not in GATEWAY_ONLY}


def for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """What is known to be harmless: a provider's key may have any name."""
    return {
        name: value
        for name, value in environ.items()
        if name in COMMON
        or name.startswith(("LC_", *OBSERVED_BY))
        or (name.startswith("LUMNI_") and name not in GATEWAY_ONLY and not name.startswith(EXECUTOR_ONLY))
    }

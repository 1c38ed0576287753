"""What each process may see of the environment that `make run` was started in."""

from collections.abc import Iterable, Mapping

# Variables that any program may need.
COMMON = frozenset(
    "PATH HOME USER LANG TZ TMPDIR VIRTUAL_ENV PYTHONPATH PYTHONWARNINGS SSL_CERT_FILE SSL_CERT_DIR HTTP_PROXY "
    "HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy".split()
)
# They say where spans go.
OBSERVED_BY = ("OTEL_", "PORTKEY_API_KEY")
# Never inherited: each process is given those that it reads, by name.
SECRETS = frozenset(
    "DATABASE_URL LUMNI_ADMIN_KEY LUMNI_ALERTS_WEBHOOK LUMNI_API_KEY LUMNI_CACHE_KEY LUMNI_KEY_SECRET "
    "LUMNI_OIDC_CLIENT_SECRET LUMNI_PROMPTS_KEY LUMNI_REPORTS_DATABASE_URL LUMNI_REQUEST_LOG_S3_SECRET "
    "LUMNI_RESPONSES_KEY LUMNI_SERVICE_TOKEN LUMNI_VIEWER_KEY REDIS_URL".split()
)
# Those of the user's own that one process reads.
OF_GATEWAY = (
    "LUMNI_CACHE_KEY",
    "LUMNI_OIDC_CLIENT_SECRET",
    "LUMNI_PROMPTS_KEY",
    "LUMNI_REPORTS_DATABASE_URL",
    "LUMNI_REQUEST_LOG_S3_SECRET",
)
OF_LEDGER = ("LUMNI_ALERTS_WEBHOOK",)
# Of the executor and the model that it calls.
MODEL = "LUMNI_LOCAL_MODEL_"


def inherited(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the process `name` sees.

    A provider's key may have any name, and only the executor may see one: the others see what is known to be harmless.
    """
    return {key: value for key, value in environ.items() if key not in SECRETS and _is_for(name, key)}


def chosen(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Some variables by their names, those that are set."""
    return {name: environ[name] for name in names if name in environ}


def _is_for(name: str, key: str) -> bool:
    if name == "executor" or key in COMMON or key.startswith("LC_"):
        return True
    if name == "model":
        return key.startswith(MODEL)
    return key.startswith(OBSERVED_BY) or (key.startswith("LUMNI_") and not key.startswith(MODEL))

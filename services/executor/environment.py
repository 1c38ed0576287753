"""What LiteLLM and the clouds' own libraries may find in the executor's environment.

They would read keys and addresses there past the configuration, so these are taken out before anything is imported.
"""

from collections.abc import Mapping, MutableMapping

from services.chassis import config

# What boto3 and Google's libraries read from the environment themselves.
CLOUDS = ("AWS_", "GOOGLE_", "VERTEXAI_")
# What LiteLLM would read from the environment, past the configuration.
AMBIENT = ("_API_KEY", "_API_BASE", "_BASE_URL", "_API_URL")


def seclude(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Take provider keys and addresses out of the environment, so that only the configuration can use them.

    Returns:
        The environment as it was, and OPENAI_API_KEY with what is in the file that OPENAI_API_KEY_FILE names.

    Raises:
        Mistakes: such a file cannot be read, or the variable is set as well.
    """
    taken = config.environment(environ)
    for name in list(environ):
        if name.removesuffix(config.IN_FILE).endswith(AMBIENT):
            del environ[name]
    return taken


def adopt(environ: MutableMapping[str, str], known: Mapping[str, str]) -> None:
    """Put into the environment what clouds' own libraries read there and nobody else: regions and credentials."""
    for name, value in known.items():
        if name.startswith(CLOUDS):
            environ.setdefault(name, value)

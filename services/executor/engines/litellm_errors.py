"""LiteLLM's exceptions, which its translations raise at what they cannot express, as classes of errors."""

import re

from litellm.exceptions import BadRequestError, UnsupportedParamsError

from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.provider_errors import redacted

# What LiteLLM's message says is not supported: "parameters: ['n']", or "temperature=0.2".
_NAMED = re.compile(r"parameters: [\[{]'(\w+)'|support (\w+)=")


def untranslated(error: Exception, key: str | None) -> Failed:
    """A request that could not even be translated, so that no provider was called.

    That is the caller's mistake or more than the provider's format can say, unless the deployment's key is at fault.
    """
    if getattr(error, "status_code", 0) in (401, 403):
        return Failed(ErrorClass.INTERNAL, first_line(error, key))
    unsupported = isinstance(error, UnsupportedParamsError)
    invalid = isinstance(error, BadRequestError) or getattr(error, "status_code", 0) == 400
    error_class = ErrorClass.BAD_REQUEST if invalid and not unsupported else ErrorClass.UNSUPPORTED
    message = first_line(error, key)
    if unsupported:
        # Its advice is for who runs LiteLLM, and a caller cannot follow it.
        found = _NAMED.search(message)
        param = found[1] or found[2] if found else None
        what = f"{param}: this value" if param else "a parameter"
        return Failed(
            error_class,
            f"{what} is not taken by the model; leave it out or choose another model",
            param=param,
        )
    if not type(error).__module__.startswith("litellm"):
        # Python's own words, at a value of another type than the translation expects.
        message = (
            f"the request cannot be told in the provider's format, look at messages and tools: {message}"
        )
    return Failed(error_class, message)


def first_line(error: Exception, key: str | None) -> str:
    """The first line of an exception's message; what follows are tracebacks and links to LiteLLM's bug reports."""
    text = str(getattr(error, "message", "") or error).strip()
    return redacted(text.splitlines()[0] if text else type(error).__name__, key)

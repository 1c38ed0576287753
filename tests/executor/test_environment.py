"""What is left in the executor's environment for the libraries that read it."""

from services.executor.environment import seclude


def test_provider_keys_leave_the_environment() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": "http://evil",
        "GROQ_API_BASE": "http://evil",
        "HOME": "/root",
    }

    taken = seclude(environ)

    assert environ == {"HOME": "/root"}
    assert taken["OPENAI_API_KEY"] == "sk-1"

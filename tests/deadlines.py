"""Deadlines that a busy machine keeps, where a test is about something else."""


def with_deadline(redis_url: str, seconds: float) -> str:
    """A Redis URL whose own deadline replaces the one that the code chooses for its calls."""
    return f"{redis_url}?socket_timeout={seconds}&socket_connect_timeout={seconds}"

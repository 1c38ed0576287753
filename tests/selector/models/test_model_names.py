"""One spelling for each model."""

from services.selector.models.model_names import canonical


def test_prefixes_are_taken_off_however_many_there_are() -> None:
    assert "claude-3.7-sonnet" == canonical("us.anthropic.claude-3-7-sonnet-20250219-v1:0")
    # 350,000 prefixes, one after the other, take a moment; one pass over the rest for each would take minutes.
    assert "gpt-4o" == canonical("openai." * 350_000 + "gpt-4o")

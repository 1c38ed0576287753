"""What a mirror's judge is asked, and on whose behalf."""

from dataclasses import replace

from services.gateway.keys.permissions import Caller
from services.gateway.mirroring.answers import Said
from services.gateway.mirroring.grading import Grades, Grading
from services.gateway.mirroring.target import Answered, Target
from services.gateway.pipeline import policy
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest
from tests.gateway.money import caller

GRADED = '{"choices":[{"index":0,"message":{"content":"Right.\\nGrade: 4"},"finish_reason":"stop"}]}'
CHAT = chat_request.parse(
    b"""{"model": "small", "messages": [{"role": "user", "content": "Hi"}],
    "lumni": {"denied_providers": ["maker"], "denied_regions": ["us"], "provider": "openai", "max_cost_usd": 1}}"""
)


class Judge(Target):
    """Answers with a grade, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Caller, ModelRequest]] = []

    async def ask(self, caller: Caller, request: ModelRequest, deadline_s: float, of: str) -> Answered:
        self.asked.append((caller, request))
        return Answered(pieces=(GRADED,))


async def test_what_a_caller_denies_is_denied_to_the_judge_which_reads_nothing_before_its_task() -> None:
    judge = Judge()
    mirror = replace(caller(), models=("small",))
    said = (Said(text="one"), Said(text="other"))

    assert Grades(4, 4) == await Grading(judge).grades(mirror, "large", CHAT, said, 1.0, "r1")
    assert 2 == len(judge.asked)
    for asks, wanted in judge.asked:
        permitted = policy.policy(asks, wanted)
        assert (["maker"], ["us"]) == (list(permitted.denied_providers), list(permitted.denied_regions))
        # The key's own models are of what it asks itself; so are its wishes.
        assert ([], "", 0) == (
            list(permitted.allowed_models),
            permitted.provider,
            permitted.max_cost_nano_usd,
        )
        assert not wanted.hints.system_prompts

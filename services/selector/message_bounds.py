"""The bounds of what the selector is asked."""

from lumni.selector.v1 import selector_pb2

from services.chassis import bounds, errors
from services.chassis.bounds import COUNT, NAME, NAMES, REQUEST_CONTEXT, Bounds, Number

# Far beyond any context window, and a cost of so many tokens still fits into 64 bits.
TOKENS = Number(0, 2**34)
SHARE = Number(0, 1)
POLICY: Bounds = {
    "strategy": NAME,
    "allowed_models": NAMES,
    "access_groups": NAMES,
    "powerful_share": SHARE,
    "threshold": SHARE,
    "max_cost_nano_usd": COUNT,
    "provider": NAME,
    "denied_providers": NAMES,
    "denied_regions": NAMES,
    # Until the year 2286.
    "now_unix_ms": Number(0, 10**13),
}
SELECT: Bounds = {
    "context": REQUEST_CONTEXT,
    "classification": {"strong_win_rate": SHARE, "version": NAME, "language": NAME},
    "requirements": {
        "operation": NAME,
        "prompt_tokens": TOKENS,
        "likely_prompt_tokens": TOKENS,
        "output_tokens": TOKENS,
        # As many as OpenAI's.
        "choices": Number(0, 128),
        "web_search": Number(0, bounds.MOST_SEARCHES),
        "image": NAME,
        "characters": TOKENS,
        "audio_ms": Number(0, bounds.MOST_AUDIO_MS),
    },
    "policy": POLICY,
    "model": NAME,
}
LIST_MODELS: Bounds = {"context": REQUEST_CONTEXT, "policy": POLICY}
GET_MODEL: Bounds = {**LIST_MODELS, "name": NAME}
PAST_DECISION: Bounds = {
    "request": SELECT,
    "circumstances": {
        # Until the year 2286.
        "selected_unix_s": Number(0, 10**10),
        "powerful_share": SHARE,
        "threshold": SHARE,
    },
    "first_model": NAME,
}
STATE: Bounds = {
    "deployment": NAME,
    "latency_ms": Number(0, 10**10),
    "availability": SHARE,
    "in_flight": Number(0, 10**10),
}
LIMIT: Bounds = {
    "limit": NAME,
    "total": Number(0, 2**62),
    "remaining": Number(-(2**62), 2**62),
    "resets_unix_s": Number(0, 10**11),
}


def check_past(decision: selector_pb2.PastDecision) -> None:
    """Check all of what a request of the past is replayed with.

    Raises:
        Invalid: naming the first field that lies outside of its bounds.
    """
    bounds.check(decision, PAST_DECISION)
    for state in decision.circumstances.states:
        bounds.check(state, STATE, "circumstances.states.")
        for limit in state.headroom:
            bounds.check(limit, LIMIT, "circumstances.states.headroom.")
    for share in decision.circumstances.recent_shares.values():
        if mistake := SHARE.mistake(share):
            raise errors.Invalid(
                f"circumstances.recent_shares: {mistake}", param="circumstances.recent_shares"
            )

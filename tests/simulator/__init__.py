"""A provider that is not there: OpenAI's, Anthropic's and Gemini's wire formats, with faults and exact counts.

It is the ground truth of tests and benchmarks: what it says it saw, it saw. Its rules:

- **Answers are deterministic.** A text answer is `Echo` and the words of the last user message, repeated up to 16
  words; the cap of the request and `stop` shorten it. A json_schema gets its smallest instance. Tools are called once
  (all of them, up to three; the one that `tool_choice` names; the first when parallel calls are off), until the
  conversation ends with a tool's result. Choice n > 0 begins with `Echo<n>`.
- **Tokens can be counted by hand.** A prompt has 1 for each word, 3 for each message, 8 for each tool and 85 for each
  image. An answer has 1 for each streamed piece: a word, the name of a called function, or 8 characters of JSON.
- **Behaviour travels in the model's name**, behind `sim-`: `gpt-4o-sim-429-retry-2`. See `behaviour.WORDS`. A script
  (POST /sim/script) or the header x-sim may say it too.
- **Every request has exactly one outcome**: `answered` (sent whole), `refused` (an error status), `broken` (a fault
  after the head was sent) or `abandoned` (the caller closed its socket first). Its tokens are counted before the
  last byte leaves.

GET /sim/counts, GET /sim/requests?last=N, POST /sim/script, POST /sim/reset.
"""

from tests.simulator.client import Simulator, running, spawned

__all__ = ["Simulator", "running", "spawned"]

"""Bodies that are short for what a parser makes of them, while an honest client goes on.

python -m tests.attacks.wide_bodies
"""

import asyncio
import statistics
import time
from pathlib import Path

import httpx

from tests.attacks import target as targets
from tests.attacks.target import Target

NAME = "wide bodies"
MIB = 2**20
SIZE = 14 * MIB
# What refused bodies may cost the gateway's memory, once they are gone.
MOST_MIB = 200
HI = '"messages":[{"role":"user","content":"hi"}],"model":"small"'
CHAT = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
PART = '{"type":"text","text":"a"},'


def bodies() -> dict[str, bytes]:
    """Each of about 14 MiB."""
    keys = ",".join(f'"k{i}":0' for i in range(SIZE // 12))
    turns = '{"role":"user","content":"a"},' * (SIZE // 30)
    return {
        name: text.encode()
        for name, text in {
            "tools": "{" + HI + ',"tools":[' + "{}," * (SIZE // 3) + "{}]}",
            "numbers": "{" + HI + ',"x":[' + "0," * (SIZE // 2) + "0]}",
            "keys": "{" + HI + "," + keys + "}",
            "messages": '{"messages":[' + turns[:-1] + "]}",
            "parts": '{"messages":[{"role":"user","content":[' + (PART * (SIZE // len(PART)))[:-1] + "]}]}",
            "levels": "{" + HI + ',"x":' + "[" * (SIZE // 2) + "]" * (SIZE // 2) + "}",
            "stops": "{" + HI + ',"stop":[' + '"a",' * (SIZE // 4) + '"a"]}',
        }.items()
    }


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Send each of them on two connections, with a key of its own each time, until the time is over."""
    before = _resident_mib(target.pids["gateway-0"])
    all_bodies = bodies()
    ends = time.monotonic() + seconds
    waits: list[float] = []
    honest = asyncio.create_task(_goes_on(target, waits))
    codes: dict[int, int] = {}
    try:
        async with httpx.AsyncClient(base_url=target.rest, trust_env=False, timeout=60) as http:
            while True:
                key = await target.make_key()
                for body in all_bodies.values():
                    answers = await asyncio.gather(*(_send(http, key, body) for _ in range(2)))
                    for code in answers:
                        codes[code] = codes.get(code, 0) + 1
                if time.monotonic() > ends:
                    break
            key = await target.make_key()
            # The limit is by the minute, which may change meanwhile.
            limited = False
            for _ in range(90):
                limited = limited or await _send(http, key, all_bodies["levels"]) == 429
        if honest.done():
            honest.result()
    finally:
        honest.cancel()
    assert {400} == codes.keys(), codes
    assert limited, "wrong bodies may be sent without end"
    assert waits, "the honest client got no answer"
    grown = _resident_mib(target.pids["gateway-0"]) - before
    assert grown < MOST_MIB, f"memory grew by {grown:.0f} MiB"
    return [
        f"{codes[400]} bodies of {SIZE // MIB} MiB with too much in them were a 400, and memory grew by {grown:.0f} MiB",
        f"honest requests meanwhile took {statistics.median(waits):.2f} s, and at most {max(waits):.2f} s",
        "more of one key in a minute end in a 429 before they are read",
    ]


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def _send(http: httpx.AsyncClient, key: str, body: bytes) -> int:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return (await http.post("/v1/chat/completions", content=body, headers=headers)).status_code


async def _goes_on(target: Target, waits: list[float]) -> None:
    """Ask again and again; how long each answer took."""
    headers = {"authorization": f"Bearer {await target.make_key('honest')}"}
    async with httpx.AsyncClient(base_url=target.rest, trust_env=False, timeout=60, headers=headers) as http:
        while True:
            began = time.monotonic()
            answer = await http.post("/v1/chat/completions", json=CHAT)
            assert 200 == answer.status_code, answer.text
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    targets.alone(NAME, attack)

"""Load over HTTP by vegeta: answers and streams, each at a steady rate, whatever becomes of earlier ones.

Vegeta (https://github.com/tsenart/vegeta) sends when it is time to, and counts from then on, so that a server that is slow cannot
hide it by being asked less. It keeps what it was answered: each stream is compared with what it must hold.
"""

import asyncio
import base64
import json
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Of load-drips in config/litellm_config.yaml: its chunks, and the seconds from the first to the last.
CHUNKS, STREAM_S = 100, 5
MESSAGES = [{"role": "user", "content": "Which planet is the largest, and how large is it?"}]
# Who waits longer has left; and what vegeta has to write once all is over. Both in seconds.
PATIENCE_S, SPARE_S = 120, 300
PERCENTILES = ("50th", "95th", "99th")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is asked.

    Args:
        rate: Answers a second.
        streams: Under way at once.
        seconds: For how long.
    """

    rate: int
    streams: int
    seconds: int


@dataclass
class Found:
    """Vegeta's reports by what was asked, and how many answers were not as they should be."""

    reports: dict[str, Any] = field(default_factory=dict)
    wrong: int = 0

    @property
    def sent(self) -> int:
        """Requests of all kinds."""
        return sum(report["requests"] for report in self.reports.values())


async def run(vegeta: Path, rest: str, key: str, amount: Amount, *, folder: Path, page: Path) -> Found:
    """Ask the gateway at an address; vegeta's graphs are written to `page`.

    Args:
        vegeta: The program.
        rest: The gateway's address.
        key: The caller's.
        amount: How much.
        folder: Of its files, which hold the key.
        page: In HTML.

    Raises:
        OSError: vegeta itself failed.
    """
    asked = {
        "answers": ("load-small", False, f"{amount.rate}/s"),
        "streams": ("load-drips", True, f"{amount.streams}/{STREAM_S}s"),
    }
    kinds = {name: each for name, each in asked.items() if not each[2].startswith("0/")}
    results = [folder / f"{name}.bin" for name in kinds]

    async def attack(name: str, model: str, rate: str, *, stream: bool) -> None:
        targets = folder / f"{name}.json"
        targets.touch(mode=0o600)
        targets.write_text(_target(f"{rest}/v1/chat/completions", key, model, stream=stream))
        await _run(
            *(str(vegeta), "attack", f"-name={name}", "-format=json", f"-targets={targets}", f"-rate={rate}"),
            *(f"-duration={amount.seconds}s", f"-timeout={PATIENCE_S}s", f"-output={folder / name}.bin"),
            timeout_s=amount.seconds + PATIENCE_S + SPARE_S,
        )

    await asyncio.gather(
        *(attack(name, model, rate, stream=stream) for name, (model, stream, rate) in kinds.items())
    )
    found = Found()
    for name, result in zip(kinds, results, strict=True):
        found.reports[name] = json.loads(await _run(str(vegeta), "report", "-type=json", str(result)))
        lines = (await _run(str(vegeta), "encode", "-to=json", str(result))).splitlines()
        found.wrong += sum(not _whole(json.loads(line), stream=kinds[name][1]) for line in lines)
    page.write_bytes(await _run(str(vegeta), "plot", "-title=Lumni", *map(str, results)))
    return found


def _target(url: str, key: str, model: str, *, stream: bool) -> str:
    """What is asked, as vegeta reads it."""
    body = json.dumps({"model": model, "stream": stream, "messages": MESSAGES})
    target = json.dumps(
        {
            "method": "POST",
            "url": url,
            "body": base64.b64encode(body.encode()).decode(),
            "header": {"authorization": [f"Bearer {key}"], "content-type": ["application/json"]},
        }
    )
    # It reads lines.
    return f"{target}\n"


def _whole(result: dict[str, Any], *, stream: bool) -> bool:
    """Whether an answer is one, and a stream has all its chunks and its end."""
    text = base64.b64decode(result["body"] or "")
    if result["code"] != 200 or not stream:
        return bool(result["code"] == 200)
    return text.rstrip().endswith(b"data: [DONE]") and text.count(b'"content":') >= CHUNKS


async def _run(*command: str, timeout_s: float = SPARE_S) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(timeout_s):
        out, problem = await process.communicate()
    if process.returncode != 0:
        raise OSError(f"{' '.join(command[:2])}: {problem.decode().strip()[-500:]}")
    return out


def table(found: Found) -> Sequence[str]:
    """What callers saw, as a table in Markdown; times are to the last byte."""
    lines = [
        "| over HTTP | requests | a second | p50 ms | p95 ms | p99 ms | answered with 200 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, report in found.reports.items():
        times = " | ".join(f"{report['latencies'][share] / 1e6:.1f}" for share in PERCENTILES)
        lines.append(
            f"| {name} | {report['requests']} | {report['rate']:.1f} | {times} | {report['success']:.2%} |"
        )
    return lines

"""`lumni evaluate` through the running gateway: what it spends is in the ledger, and the selector goes by what it found."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import orjson
import yaml

from tests.flow.stack import ADMIN_KEY, Stack

# The simulator echoes what it is asked, so that one kind of task is solved and the other is not.
TASKS = [
    {
        "id": f"{category}-{n}",
        "category": category,
        "level": n,
        "messages": [{"role": "user", "content": f"Say evaluated-{n}"}],
        "check": {"kind": "text", "any_of": [answer.format(n)]},
    }
    for category, answer in (("code", "evaluated-{}"), ("math", "another-{}"))
    for n in range(1, 5)
]


async def evaluate(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    """Run the command in a process of its own, as it waits for signals; exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.gateway.cli.commands",
        "evaluate",
        *arguments,
        env={**os.environ, "LUMNI_URL": stack.rest, "LUMNI_ADMIN_KEY": ADMIN_KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode(), err.decode()


async def test_models_are_evaluated_with_a_key_of_its_own(stack: Stack, tmp_path: Path) -> None:
    tasks, results, scores = (tmp_path / name for name in ("tasks.jsonl", "results.jsonl", "scores.yaml"))
    tasks.write_bytes(b"\n".join(map(orjson.dumps, TASKS)))
    given = [f"--tasks={tasks}", f"--results={results}", f"--scores={scores}", "--models=small,large"]
    given += [f"--report={tmp_path / 'report.html'}", "--budget"]

    refused = await evaluate(stack, *given, "much")
    code, text, err = await evaluate(stack, *given, "0.5")
    again = await evaluate(stack, *given, "0.5")

    assert (1, True) == (refused[0], "--budget: expected US dollars" in refused[2])
    assert 0 == code, err
    assert "16 answers were graded" in text
    assert "Nothing is both better and cheaper than small." in text
    assert "large could be switched off" in text
    written = [orjson.loads(line) for line in results.read_text().splitlines()]
    rows = [row for row in written if row["kind"] == "answer"]
    assert len(TASKS) * 2 == len(rows)
    assert (0, text.splitlines()[0]) == (again[0], again[1].splitlines()[0])
    found = yaml.safe_load(scores.read_text())["models"]
    assert {"small": (1.0, 0.0), "large": (1.0, 0.0)} == {
        name: (one["code"]["share"], one["math"]["share"]) for name, one in found.items()
    }
    assert "Evaluation of" in (tmp_path / "report.html").read_text()
    await ledger_agrees(stack, sum(row["nano_usd"] for row in rows), len(rows))


async def ledger_agrees(stack: Stack, nano_usd: int, requests: int) -> None:
    """The keys made for it are revoked, and the ledger has what the answers said they cost."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=stack.rest, headers=headers, timeout=60) as admin:
        keys = (await admin.get("/admin/keys", params={"user_id": "lumni-evaluate"})).json()["data"]
        assert {"revoked"} == {key["status"] for key in keys}
        while True:
            params = {"user_id": "lumni-evaluate", "group_by": "model"}
            total = (await admin.get("/admin/usage", params=params)).json()["total"]
            if total["requests"] >= requests:
                break
        assert (requests, nano_usd) == (total["requests"], round(total["cost_usd"] * 1e9))

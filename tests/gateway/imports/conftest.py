"""Databases and files of other gateways, and the command that imports them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from services.gateway.cli import commands
from tests.gateway.authentication import PEPPER
from tests.gateway.conftest import CONFIG
from tests.litellm_schema import tables

ANN, BOB, OFF, OLD = "sk-ann-of-litellm", "sk-bob-of-litellm", "sk-off-of-litellm", "sk-old-of-litellm"


def sha256(key: str) -> str:
    """A key as LiteLLM stores it."""
    return hashlib.sha256(key.encode()).hexdigest()


# Two teams, three users, and keys of every sort. Costs are what LiteLLM computes: doubles, finer than a nano-dollar.
LITELLM = f"""
INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, budget_duration, rpm_limit, created_by, updated_by, updated_at)
VALUES ('small', 5, '1d', 30, 'admin', 'admin', now()), ('whole', 900, '30d', NULL, 'admin', 'admin', now());
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, created_by, updated_by, updated_at)
VALUES ('acme', 'Acme', 'whole', '{{}}', 'admin', 'admin', now());
INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, organization_id, max_budget, budget_duration, tpm_limit, models, blocked, updated_at)
VALUES ('data', 'Data', 'acme', 100, '30d', 200000, '{{small,large}}', false, now()),
       ('gone', 'Gone', NULL, NULL, NULL, NULL, '{{}}', true, now());
INSERT INTO "LiteLLM_UserTable" (user_id, max_budget, budget_duration, models, user_role)
VALUES ('ann', 20, '7d', '{{}}', 'internal_user'), ('bob', NULL, NULL, '{{}}', 'internal_user'),
       ('auth0|7', 12.5, '12h', '{{}}', 'internal_user'), ('litellm-proxy-budget', 1000, '30d', '{{}}', NULL);
INSERT INTO "LiteLLM_VerificationToken"
    (token, key_alias, key_name, user_id, team_id, models, budget_id, max_budget, budget_duration, rpm_limit, blocked, expires, metadata)
VALUES
    ('{sha256(ANN)}', 'ann-prod', 'sk-...tllm', 'ann', 'data', '{{all-team-models}}', NULL, 10, '1d', 120, NULL, NULL,
     '{{"tags": ["prod"], "logging": [{{"callback_vars": {{"langfuse_secret_key": "sk-lf-1"}}}}]}}'),
    ('{sha256(BOB)}', NULL, 'sk-...tllm', 'bob', NULL, '{{small}}', 'small', NULL, NULL, NULL, false, '2099-01-01', '{{}}'),
    ('{sha256(OFF)}', 'off', 'sk-...tllm', 'bob', 'gone', '{{}}', NULL, NULL, NULL, NULL, NULL, NULL, '{{}}'),
    ('{sha256(OLD)}', 'old', 'sk-...tllm', 'auth0|7', NULL, '{{}}', NULL, NULL, NULL, NULL, NULL, '2026-01-01', '{{}}'),
    ('{sha256("session")}', NULL, NULL, 'ann', 'litellm-dashboard', '{{}}', NULL, 0.25, NULL, NULL, NULL, '2026-11-02', '{{}}');
INSERT INTO "LiteLLM_SpendLogs"
    (request_id, call_type, api_key, spend, prompt_tokens, completion_tokens, total_tokens, "startTime", "endTime", model,
     model_group, custom_llm_provider, "user", team_id, status, cache_hit, updated_at)
SELECT 'chatcmpl-' || n, 'acompletion',
       (ARRAY['{sha256(ANN)}', '{sha256(BOB)}', '{sha256("deleted")}', ''])[1 + n % 4],
       n * 0.0000003750017::float8, n, 2 * n, 3 * n,
       '2026-11-01'::timestamp + n * interval '7 minutes', '2026-11-01'::timestamp + n * interval '7 minutes' + interval '1.5 s',
       'gpt-4o-mini', (ARRAY['small', 'large'])[1 + n % 2], 'openai',
       (ARRAY['ann', 'bob', 'auth0|7', ''])[1 + n % 4], (ARRAY['data', NULL, NULL, NULL])[1 + n % 4], 'success', 'False', now()
FROM generate_series(1, 600) AS n;
INSERT INTO "LiteLLM_SpendLogs"
    (request_id, call_type, api_key, spend, prompt_tokens, completion_tokens, "startTime", "endTime", model, "user", status, cache_hit, updated_at)
VALUES ('failed', 'aembedding', '{sha256(ANN)}', 0, 5, 0, '2026-11-02', '2026-11-02', 'small', 'ann', 'failure', '', now()),
       ('cached', 'acompletion', '{sha256(ANN)}', 0, 5, 5, '2026-11-02', '2026-11-02', 'small', 'ann', 'success', 'True', now());
INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, spend, prompt_tokens, completion_tokens, api_requests, updated_at)
VALUES ('d1', 'ann', '2026-10-30', '{sha256(ANN)}', 'small', 1.2345678915, 1000, 500, 17, now()),
       ('d2', 'ann', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), '{sha256(ANN)}', 'small', 1, 1, 1, 1, now());
"""


@pytest.fixture
async def litellm(empty_database: str) -> str:
    """The address of a database of LiteLLM."""
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute(
            tables(
                "LiteLLM_BudgetTable",
                "LiteLLM_OrganizationTable",
                "LiteLLM_TeamTable",
                "LiteLLM_UserTable",
                "LiteLLM_VerificationToken",
                "LiteLLM_TeamMembership",
                "LiteLLM_SpendLogs",
                "LiteLLM_DailyUserSpend",
            )
        )
        await connection.execute(LITELLM)
    finally:
        await connection.close()
    return empty_database


@pytest.fixture
def portkey(tmp_path: Path) -> tuple[Path, Path]:
    """Portkey's keys, and a log export."""
    key = {
        "id": "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "key": "Xk*******S4",
        "name": "backend",
        "type": "workspace-service",
        "workspace_id": "ws-web",
        "status": "active",
        "created_at": "2026-09-15T10:30:00Z",
        "rate_limits": [{"type": "requests", "unit": "rpm", "value": 100}],
        "usage_limits": {"credit_limit": 10.5, "periodic_reset": "monthly", "alert_threshold": 8},
        "scopes": ["completions.write"],
        "defaults": {"metadata": {"team": "web"}},
        "object": "api-key",
    }
    lines = [
        {
            "id": f"log-{n}",
            "trace_id": f"trace-{n}",
            "created_at": f"2026-11-0{1 + n % 2}T12:00:00.000Z",
            "is_success": 1,
            "ai_org": "openai",
            "ai_model": "gpt-4o-mini",
            "req_units": 10 * n,
            "res_units": n,
            # In cents.
            "cost": n * 0.00001234567,
            "cost_currency": "USD",
            "response_time": 800,
            "response_status_code": 200,
            "metadata": {"_user": "ann"},
        }
        for n in range(1, 41)
    ]
    keys, logs = tmp_path / "keys.json", tmp_path / "logs.jsonl"
    keys.write_text(json.dumps({"object": "list", "total": 1, "data": [key]}))
    logs.write_text("\n".join(json.dumps(line) for line in lines))
    return keys, logs


@pytest.fixture
def openrouter(tmp_path: Path) -> Path:
    """OpenRouter's activity export."""
    heading = (
        "generation_id,created_at,cost_total,cost_web_search,cost_cache,cost_file_processing,byok_usage_inference,"
        "tokens_prompt,tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name,variant,cancelled,"
        "streamed,user,finish_reason_raw,finish_reason_normalized,generation_time_ms,time_to_first_token_ms,"
        "api_key_disabled,api_key_name,app_name"
    )
    rows = [
        f"gen-{n},2026-11-0{1 + n % 3} 10:00:00.{n:03},{n}.00000000049e-4,0,-0.0001,0,0,{100 * n},{n},0,0,"
        f"openai/gpt-4o-mini,OpenAI,standard,false,true,,stop,stop,900,200,false,backend,Web"
        for n in range(1, 31)
    ]
    path = tmp_path / "openrouter_activity.csv"
    path.write_text("\n".join([heading, *rows]) + "\n")
    return path


@pytest.fixture
def lumni(
    database: str,
    valkey: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Runs a command on a fresh installation: its exit code, and what it said."""
    folder = tmp_path / "config"
    folder.mkdir()
    shutil.copy(CONFIG, folder)
    (folder / "litellm_config.yaml").write_text(
        "model_list:\n"
        "  - {model_name: small, litellm_params: {model: openai/gpt-4o-mini}}\n"
        "  - {model_name: large, litellm_params: {model: openai/gpt-4o}}\n"
    )
    for name, value in {
        "DATABASE_URL": database,
        "REDIS_URL": valkey,
        "LUMNI_KEY_SECRET": PEPPER.reveal(),
        "LUMNI_CONFIG_DIR": str(folder),
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        try:
            commands.main([str(one) for one in arguments])
        except SystemExit as end:
            return (end.code if isinstance(end.code, int) else 1), capsys.readouterr().out + str(
                end.code or ""
            )
        return 0, capsys.readouterr().out

    return run

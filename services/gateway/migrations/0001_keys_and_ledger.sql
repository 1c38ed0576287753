-- Who may ask -----------------------------------------------------------------------------------------------------

CREATE TABLE organizations (
    organization_id text PRIMARY KEY,
    rpm_limit       integer,
    tpm_limit       integer,
    parallel_limit  integer,
    budget_nano_usd bigint,
    budget_period   text NOT NULL DEFAULT 'month',
    created_at      timestamptz NOT NULL DEFAULT now(),
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE users (
    user_id         text PRIMARY KEY,
    organization_id text REFERENCES organizations,
    rpm_limit       integer,
    tpm_limit       integer,
    parallel_limit  integer,
    budget_nano_usd bigint,
    budget_period   text NOT NULL DEFAULT 'month',
    created_at      timestamptz NOT NULL DEFAULT now(),
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE virtual_keys (
    key_id          text PRIMARY KEY,
    -- The last characters of the newest secret, so that people can tell their keys apart.
    hint            text NOT NULL,
    user_id         text REFERENCES users,
    organization_id text REFERENCES organizations,
    plan            text NOT NULL,
    models          text[] NOT NULL DEFAULT '{}',
    rpm_limit       integer,
    tpm_limit       integer,
    parallel_limit  integer,
    budget_nano_usd bigint,
    budget_period   text NOT NULL DEFAULT 'month',
    expires_at      timestamptz,
    revoked_at      timestamptz,
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX virtual_keys_by_user ON virtual_keys (user_id);
CREATE INDEX virtual_keys_by_organization ON virtual_keys (organization_id);

-- A key keeps its id when it is rotated; for a time of grace it has more than one secret.
CREATE TABLE key_secrets (
    digest          bytea PRIMARY KEY CHECK (length(digest) = 32),
    key_id          text NOT NULL REFERENCES virtual_keys ON DELETE CASCADE,
    valid_until     timestamptz,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (key_id, idempotency_key)
);
CREATE INDEX key_secrets_by_key ON key_secrets (key_id);

-- What the gateways' caches watch: one row for each change, newest last.
CREATE TABLE key_changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject    text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX key_changes_by_time ON key_changes (changed_at);

CREATE TABLE audit_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor    text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_events_by_subject ON audit_events (subject, at);

-- What was spent; the ledger is the only writer ------------------------------------------------------------------------

-- One row per attempt that a provider saw.
CREATE TABLE usage_records (
    attempt_id              text NOT NULL,
    started_at              timestamptz NOT NULL,
    -- When the request was admitted, by Redis' clock; its day, week and month are the ones the cost counts for.
    admitted_at             timestamptz NOT NULL,
    request_id              text NOT NULL,
    -- final: the provider's own count; partial and unknown: an upper bound; failed: nothing was billed.
    kind                    text NOT NULL CHECK (kind IN ('final', 'partial', 'failed', 'unknown')),
    tenant                  text NOT NULL,
    key_id                  text NOT NULL,
    user_id                 text NOT NULL,
    organization_id         text NOT NULL,
    plan                    text NOT NULL,
    deployment              text NOT NULL,
    model                   text NOT NULL,
    provider                text NOT NULL,
    operation               text NOT NULL,
    category                text NOT NULL,
    tier                    text NOT NULL,
    stream                  boolean NOT NULL,
    estimated               boolean NOT NULL,
    prompt_tokens           bigint NOT NULL,
    completion_tokens       bigint NOT NULL,
    cached_tokens           bigint NOT NULL,
    cache_write_tokens      bigint NOT NULL,
    reasoning_tokens        bigint NOT NULL,
    audio_prompt_tokens     bigint NOT NULL,
    audio_completion_tokens bigint NOT NULL,
    cost_nano_usd           bigint NOT NULL CHECK (cost_nano_usd >= 0),
    max_cost_nano_usd       bigint NOT NULL,
    duration_ms             double precision NOT NULL,
    first_chunk_ms          double precision NOT NULL,
    status_code             integer NOT NULL,
    error_class             text NOT NULL,
    labels                  jsonb NOT NULL DEFAULT '{}',
    recorded_at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (attempt_id, started_at)
) PARTITION BY RANGE (started_at);
CREATE INDEX usage_records_by_user ON usage_records (user_id, started_at);
CREATE INDEX usage_records_by_key ON usage_records (key_id, started_at);
CREATE INDEX usage_records_by_request ON usage_records (request_id);
CREATE TABLE usage_records_other PARTITION OF usage_records DEFAULT;

-- Attempts whose end nobody told yet, as they were when they started.
CREATE TABLE open_attempts (
    attempt_id text PRIMARY KEY,
    request_id text NOT NULL,
    event      bytea NOT NULL,
    closes_at  timestamptz NOT NULL
);
CREATE INDEX open_attempts_by_request ON open_attempts (request_id);
CREATE INDEX open_attempts_by_time ON open_attempts (closes_at);

CREATE TABLE task_classifications (
    request_id      text NOT NULL,
    decided_at      timestamptz NOT NULL,
    key_id          text NOT NULL,
    user_id         text NOT NULL,
    organization_id text NOT NULL,
    plan            text NOT NULL,
    tier            text NOT NULL,
    category        text NOT NULL,
    subject         text NOT NULL,
    language        text NOT NULL,
    strong_win_rate double precision NOT NULL,
    confidence      double precision NOT NULL,
    prompt_tokens   bigint NOT NULL,
    version         text NOT NULL,
    PRIMARY KEY (request_id, decided_at)
) PARTITION BY RANGE (decided_at);
CREATE INDEX task_classifications_by_user ON task_classifications (user_id);
CREATE TABLE task_classifications_other PARTITION OF task_classifications DEFAULT;

CREATE TABLE model_selections (
    request_id                       text NOT NULL,
    decided_at                       timestamptz NOT NULL,
    key_id                           text NOT NULL,
    user_id                          text NOT NULL,
    organization_id                  text NOT NULL,
    plan                             text NOT NULL,
    requested_model                  text NOT NULL,
    tier                             text NOT NULL,
    strategy                         text NOT NULL,
    reason                           text NOT NULL,
    -- Deployments in the order in which they were to be tried.
    candidates                       text[] NOT NULL,
    chosen_model                     text NOT NULL,
    -- The most powerful model that was allowed, and what it charges: savings are counted against it.
    baseline_model                   text NOT NULL,
    baseline_input_nano_usd_per_mtok  bigint NOT NULL,
    baseline_output_nano_usd_per_mtok bigint NOT NULL,
    -- Why the request was not executed; empty when it was.
    refusal                          text NOT NULL,
    degraded                         text[] NOT NULL,
    PRIMARY KEY (request_id, decided_at)
) PARTITION BY RANGE (decided_at);
CREATE INDEX model_selections_by_user ON model_selections (user_id);
CREATE TABLE model_selections_other PARTITION OF model_selections DEFAULT;

-- Sums of usage_records by the hour in which the attempt started.
CREATE TABLE usage_metrics (
    hour              timestamptz NOT NULL,
    key_id            text NOT NULL,
    user_id           text NOT NULL,
    organization_id   text NOT NULL,
    plan              text NOT NULL,
    model             text NOT NULL,
    provider          text NOT NULL,
    category          text NOT NULL,
    tier              text NOT NULL,
    kind              text NOT NULL,
    -- First attempts: every request has exactly one.
    requests          bigint NOT NULL,
    attempts          bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    cost_nano_usd     bigint NOT NULL,
    duration_ms       double precision NOT NULL,
    PRIMARY KEY (hour, key_id, user_id, organization_id, plan, model, provider, category, tier, kind)
);
CREATE INDEX usage_metrics_by_user ON usage_metrics (user_id, hour);

-- What each subject (key:ID, user:ID, organization:ID) spent in each period; the version grows with every change.
CREATE TABLE budget_spend (
    subject        text NOT NULL,
    period         text NOT NULL,
    spent_nano_usd bigint NOT NULL,
    version        bigint NOT NULL,
    PRIMARY KEY (subject, period)
);

-- Events that could not be booked, with the reason; nothing is dropped.
CREATE TABLE poison_events (
    stream   text NOT NULL,
    entry_id text NOT NULL,
    reason   text NOT NULL,
    event    bytea NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, entry_id)
);

-- How far `lumni import` came with each file.
CREATE TABLE imports (
    file_digest text NOT NULL,
    source      text NOT NULL,
    last_row    bigint NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (file_digest, source)
);

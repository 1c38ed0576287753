-- Experiments.
CREATE TABLE experiments (
    experiment_id text PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    -- What `experiments/definition` describes.
    definition    jsonb NOT NULL,
    -- The prompt that its name meant when it was made; empty where it is about none.
    prompt_id     text NOT NULL DEFAULT '',
    -- The key of the hash that divides its users, keys or conversations.
    salt          bytea NOT NULL,
    state         text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'running', 'stopped', 'promoted')),
    -- By variant: why a guardrail, or an admin, has stopped it.
    stopped       jsonb NOT NULL DEFAULT '{}',
    -- The variant that all requests get; empty while there is none.
    promoted      text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    ended_at      timestamptz
);
-- The variant of each attempt's request, and the hash of who stays with it; null for an erased user.
ALTER TABLE usage_records
    ADD COLUMN experiment_id   text NOT NULL DEFAULT '',
    ADD COLUMN variant         text NOT NULL DEFAULT '',
    ADD COLUMN experiment_unit bigint;
-- The same of each decision, for requests that are refused have no attempt.
ALTER TABLE model_selections
    ADD COLUMN experiment_id   text NOT NULL DEFAULT '',
    ADD COLUMN variant         text NOT NULL DEFAULT '',
    ADD COLUMN experiment_unit bigint;
-- Feedback as Portkey has it, also by the trace that its caller named.
ALTER TABLE feedback
    ADD COLUMN weight   real NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1),
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}';

-- The prompt store.
CREATE TABLE prompts (
    prompt_id       text PRIMARY KEY,
    -- Whose it is; without one all callers may use it.
    organization_id text REFERENCES organizations,
    name            text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('prompt', 'partial')),
    -- Grows with each change, so that nobody changes what he has not seen.
    revision        bigint NOT NULL DEFAULT 1,
    newest          integer NOT NULL DEFAULT 1,
    -- By label: the version that has it now, then those that had it before, the latest first.
    labels          jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    changed_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (organization_id, name)
);
CREATE TABLE prompt_versions (
    prompt_id  text NOT NULL REFERENCES prompts ON DELETE CASCADE,
    version    integer NOT NULL,
    content    jsonb NOT NULL,
    note       text NOT NULL DEFAULT '',
    -- The id of the admin's key.
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (prompt_id, version)
);

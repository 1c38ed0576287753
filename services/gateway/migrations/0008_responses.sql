-- Responses that their callers may retrieve and go on from.
CREATE TABLE responses (
    response_id text PRIMARY KEY,
    tenant      text NOT NULL,
    user_id     text NOT NULL,
    -- The response and the conversation that it ends, encrypted under LUMNI_RESPONSES_KEY.
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX responses_by_user ON responses (user_id);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- Prompts and answers, where the operator asks for them.
CREATE TABLE request_texts (
    request_id text PRIMARY KEY,
    user_id    text NOT NULL,
    -- Both as JSON, encrypted under LUMNI_PROMPTS_KEY.
    sealed     bytea NOT NULL,
    -- When the request came.
    asked_at   timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX request_texts_by_user ON request_texts (user_id);
CREATE INDEX request_texts_by_expiry ON request_texts (expires_at);
-- Whether prompts and answers of a key may be kept; null and true leave it to the plan.
ALTER TABLE virtual_keys ADD COLUMN store_prompts boolean;

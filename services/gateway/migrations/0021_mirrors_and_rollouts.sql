-- What was compared of each mirrored request and its caller's answer; no text of either.
CREATE TABLE mirrored_requests (
    -- The mirrored request, whose attempts are in usage_records under the key mirror:NAME.
    request_id           text PRIMARY KEY,
    mirror               text NOT NULL,
    -- The request that it repeats.
    of_request_id        text NOT NULL,
    asked_at             timestamptz NOT NULL,
    expires_at           timestamptz NOT NULL,
    plan                 text NOT NULL,
    operation            text NOT NULL,
    category             text NOT NULL,
    -- The caller's side, and the target's. A failure is the reason; empty for an answer.
    model                text NOT NULL,
    target_model         text NOT NULL,
    failure              text NOT NULL,
    target_failure       text NOT NULL,
    latency_ms           double precision NOT NULL,
    target_latency_ms    double precision NOT NULL,
    first_ms             double precision,
    target_first_ms      double precision,
    cost_nano_usd        bigint,
    target_cost_nano_usd bigint,
    finish               text NOT NULL,
    target_finish        text NOT NULL,
    characters           integer NOT NULL,
    target_characters    integer NOT NULL,
    refused              boolean,
    target_refused       boolean,
    -- Null where the request asks for neither.
    tools_equal          boolean,
    json_valid           boolean,
    target_json_valid    boolean,
    similarity           real,
    -- 1 to 5; null where no judge was asked.
    grade                smallint,
    target_grade         smallint
);
-- How far an experiment is that goes on in steps; null for all others.
ALTER TABLE experiments ADD COLUMN rollout jsonb;
CREATE INDEX mirrored_requests_by_mirror ON mirrored_requests (mirror, asked_at);
CREATE INDEX mirrored_requests_by_expiry ON mirrored_requests (expires_at);

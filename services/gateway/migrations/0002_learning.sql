-- Learning from use, by opt-in: what the classifier's heads saw of a request, never its text ...
ALTER TABLE task_classifications ADD COLUMN features real[];

-- ... and what its user thought of the answer. Written by the gateway.
CREATE TABLE feedback (
    request_id text NOT NULL,
    user_id    text NOT NULL,
    -- From -10 (useless) to 10 (perfect), as Portkey counts.
    value      smallint NOT NULL CHECK (value BETWEEN -10 AND 10),
    given_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, user_id)
);
CREATE INDEX feedback_by_user ON feedback (user_id);

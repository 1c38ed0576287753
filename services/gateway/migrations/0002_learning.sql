-- Learning from use, by opt-in: what the classifier's heads saw of a request, never its text ...
ALTER TABLE task_classifications ADD COLUMN features real[];
-- For taking them away again when they are old.
CREATE INDEX task_classifications_learnt ON task_classifications (decided_at) WHERE features IS NOT NULL;

-- ... and what its user thought of the answer: one verdict on a request, whose user may change it. Written by the
-- gateway, and only for a row of usage_records; a foreign key cannot say so, since their key is the attempt's. The
-- ledger deletes what is old.
CREATE TABLE feedback (
    request_id text PRIMARY KEY,
    user_id    text NOT NULL,
    -- From -10 (useless) to 10 (perfect), as Portkey counts.
    value      smallint NOT NULL CHECK (value BETWEEN -10 AND 10),
    given_at   timestamptz NOT NULL DEFAULT now(),
    -- When the answer was: the verdict goes when that is old, whenever it was given.
    asked_at   timestamptz NOT NULL
);
CREATE INDEX feedback_by_user ON feedback (user_id);
CREATE INDEX feedback_by_time ON feedback (asked_at);

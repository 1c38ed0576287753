-- Who was erased, and under which name their usage stays: for events that were on their way, and only as long as that
-- may take.
CREATE TABLE erasures (
    user_id   text PRIMARY KEY,
    stranger  text NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now()
);

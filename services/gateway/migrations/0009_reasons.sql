-- Why a request was decided as it was, for people who look at it later: a lumni.events.v1.DecisionEvent with what the
-- classifier saw and how each candidate scored, without context and features. And the trace that the request left.
ALTER TABLE model_selections ADD COLUMN reasons bytea;
ALTER TABLE model_selections ADD COLUMN trace_id text NOT NULL DEFAULT '';
CREATE INDEX model_selections_by_trace ON model_selections (trace_id) WHERE trace_id <> '';
-- The newest attempts and refusals, and what a period saved, without reading all of a month.
CREATE INDEX usage_records_by_time ON usage_records (started_at);
CREATE INDEX model_selections_refused ON model_selections (decided_at) WHERE refusal <> '';

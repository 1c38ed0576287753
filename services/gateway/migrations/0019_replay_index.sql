-- concurrently
-- The decisions of a length of time in their order, without reading all of a month.
CREATE INDEX model_selections_by_time ON model_selections (decided_at, request_id) WHERE refusal = '';

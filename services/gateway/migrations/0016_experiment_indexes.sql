-- concurrently
CREATE INDEX usage_records_by_experiment ON usage_records (experiment_id) WHERE experiment_id <> '';
CREATE INDEX usage_records_by_trace ON usage_records ((metadata ->> 'trace_id')) WHERE metadata ? 'trace_id';
CREATE INDEX model_selections_by_experiment ON model_selections (experiment_id)
    WHERE experiment_id <> '' AND refusal <> '';

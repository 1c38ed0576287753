-- Searches of the web that a provider made for an answer, and billed beside its tokens.
ALTER TABLE usage_records ADD COLUMN web_searches bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_metrics ADD COLUMN web_searches bigint NOT NULL DEFAULT 0;

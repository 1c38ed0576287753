-- Answers from the gateway's cache: rows of requests that no provider saw, which cost nothing, with what the answer had
-- cost when a provider made it; 0 in all other rows.
ALTER TABLE usage_records DROP CONSTRAINT usage_records_kind_check;
ALTER TABLE usage_records
    ADD CONSTRAINT usage_records_kind_check CHECK (kind IN ('final', 'partial', 'failed', 'unknown', 'cached')),
    ADD COLUMN saved_nano_usd bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_metrics ADD COLUMN saved_nano_usd bigint NOT NULL DEFAULT 0;

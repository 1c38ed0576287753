-- An attempt at a deployment whose price nobody knows has no cost: null in its row, and counted in the sums.
ALTER TABLE usage_records ALTER COLUMN cost_nano_usd DROP NOT NULL;
ALTER TABLE usage_metrics ADD COLUMN unpriced bigint NOT NULL DEFAULT 0;

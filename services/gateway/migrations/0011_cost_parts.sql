-- What the parts of a cost are. They add up to cost_nano_usd; all are null where nobody knows them: in rows of before,
-- where the cost is the bound that was reserved, and where there is no price.
ALTER TABLE usage_records
    ADD COLUMN input_cost_nano_usd  bigint,
    ADD COLUMN cached_cost_nano_usd bigint,
    ADD COLUMN output_cost_nano_usd bigint,
    ADD COLUMN fees_nano_usd        bigint;

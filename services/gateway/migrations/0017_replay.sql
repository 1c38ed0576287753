-- What a decision was asked for, and under which circumstances: a lumni.selector.v1.Asked, without any text. Null where
-- nothing was selected for the request, and in rows of before.
ALTER TABLE model_selections ADD COLUMN asked bytea;
-- List prices of the first candidate, and of the cheapest model that was allowed; its name is empty in rows of before.
-- Prices are null where nobody knows them, in rows of before, and for the first one where another model was pinned.
ALTER TABLE model_selections
    ADD COLUMN chosen_input_nano_usd_per_mtok    bigint,
    ADD COLUMN chosen_output_nano_usd_per_mtok   bigint,
    ADD COLUMN cheapest_model                    text NOT NULL DEFAULT '',
    ADD COLUMN cheapest_input_nano_usd_per_mtok  bigint,
    ADD COLUMN cheapest_output_nano_usd_per_mtok bigint,
    ALTER COLUMN baseline_input_nano_usd_per_mtok  DROP NOT NULL,
    ALTER COLUMN baseline_output_nano_usd_per_mtok DROP NOT NULL;

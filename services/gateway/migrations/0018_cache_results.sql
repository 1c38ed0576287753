-- How an answer was found in the cache: 'hit' for an equal request, 'semantic' for a question that says the same; empty
-- for requests that a provider saw, and in rows that are older than this column.
ALTER TABLE usage_records ADD COLUMN cache_result text NOT NULL DEFAULT '';

-- What callers note about a request, such as a trace id of their own.
ALTER TABLE usage_records RENAME COLUMN labels TO metadata;

-- What a stored digest is of: a key, or the SHA-256 that another system kept of one, whose holder shows the key all the same.
ALTER TABLE key_secrets ADD COLUMN digest_of text NOT NULL DEFAULT 'key' CHECK (digest_of IN ('key', 'sha256'));
-- The version of the gateway's configuration files that a request was decided by; empty in rows that are older than this
-- column, and where nothing was decided.
ALTER TABLE model_selections ADD COLUMN configuration text NOT NULL DEFAULT '';

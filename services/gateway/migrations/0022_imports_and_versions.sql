-- What a stored digest is of: a key, or the SHA-256 that another system kept of one, whose holder shows the key all the same.
ALTER TABLE key_secrets ADD COLUMN digest_of text NOT NULL DEFAULT 'key' CHECK (digest_of IN ('key', 'sha256'));

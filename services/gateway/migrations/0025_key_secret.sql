-- Which LUMNI_KEY_SECRET keyed a digest: its fingerprint, which tells nothing of it. Null in rows that are older than
-- this column.
ALTER TABLE key_secrets ADD COLUMN keyed_by text;

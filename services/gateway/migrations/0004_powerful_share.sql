-- The share of a key's requests that may go to powerful models; null is the plan's.
ALTER TABLE virtual_keys ADD COLUMN powerful_share double precision CHECK (powerful_share BETWEEN 0 AND 1);

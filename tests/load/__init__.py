"""Load on every RPC, by ghz, against a whole Lumni of its own and the provider simulator; all of it on loopback."""

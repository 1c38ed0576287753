"""Virtual keys, users and organizations: who is calling, and what admins may change."""

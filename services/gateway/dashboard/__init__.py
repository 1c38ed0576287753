"""The page at /dashboard: pages made on the server, for people with the admin key or the viewer key."""

"""What the tests and the pictures of the page at /dashboard are made with."""

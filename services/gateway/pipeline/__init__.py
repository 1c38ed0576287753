"""From an authenticated request to its answer: decide, admit, execute, settle."""

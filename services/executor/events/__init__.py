"""What is recorded of each attempt: usage events, spans and metrics."""

"""What requests of the past would have cost, and which models would have answered, by another configuration."""

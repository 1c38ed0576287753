"""Whole systems under load whose parts are killed, frozen and restarted; then every bill is counted again."""

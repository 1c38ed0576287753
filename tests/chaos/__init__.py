"""Lumni on hosts of a network of its own whose links, processes and clocks fail; then every bill is counted again."""

"""The command line client: lumni."""

"""The clients that people have, each in the environment that its makers expect, in front of a running Lumni."""

"""The gRPC surface: the same pipeline and the same keys as REST."""

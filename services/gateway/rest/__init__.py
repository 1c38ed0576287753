"""The REST surface: OpenAI's routes, the admin routes, and the server that carries them."""

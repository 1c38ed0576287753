"""What Lumni itself adds to OpenAI's responses: an id of its own, and what is kept to go on from."""

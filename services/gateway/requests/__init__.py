"""What a caller asks for: the body, the hints to Lumni itself, the size of the prompt, the id."""

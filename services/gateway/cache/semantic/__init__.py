"""The semantic cache: the answer to a question that says the same in other words, within the same partition."""

"""Operations that a deployment does not speak, made as chat completions and answered in the operation's own format."""

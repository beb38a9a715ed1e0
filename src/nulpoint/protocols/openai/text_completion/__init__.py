"""The legacy completions API as a client protocol."""

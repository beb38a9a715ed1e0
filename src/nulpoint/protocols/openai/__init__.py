"""The OpenAI API: chat completions, legacy completions, embeddings and their streams."""

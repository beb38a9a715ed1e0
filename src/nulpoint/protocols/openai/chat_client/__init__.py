"""The client protocol of chat completions: reads requests as conversations, and writes the responses."""

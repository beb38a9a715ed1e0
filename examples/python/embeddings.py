"""Turns two texts into vectors and prints how similar they are."""

import math
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("NULPOINT_URL", "http://localhost:8080/v1"), api_key="any-string")

response = client.embeddings.create(
    model="text-embedding-3-small",
    input=["The quick brown fox jumps over the lazy dog.", "A fast fox leaps over a sleepy dog."],
)
first, second = (item.embedding for item in response.data)
similarity = sum(a * b for a, b in zip(first, second, strict=True)) / (math.hypot(*first) * math.hypot(*second))
print(f"{len(first)} dimensions, cosine similarity {similarity:.3f}")

"""Two texts as vectors, and how near they are to each other."""

import math
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("NULPOINT_URL", "http://localhost:8080/v1"), api_key="any-string")

answer = client.embeddings.create(
    model="text-embedding-3-small",
    input=["The quick brown fox jumps over the lazy dog.", "A fast fox leaps over a sleepy dog."],
)
one, other = (item.embedding for item in answer.data)
nearness = sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
print(f"{len(one)} dimensions, cosine similarity {nearness:.3f}")

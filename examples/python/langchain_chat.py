"""Uses LangChain through the gateway. Install it with: pip install -r examples/python/requirements-langchain.txt"""

import os

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

url = os.environ.get("NULPOINT_URL", "http://localhost:8080/v1")
chat = ChatOpenAI(model="gpt-5.4", base_url=url, api_key="any-string")
messages = [SystemMessage("You answer in one sentence."), HumanMessage("Hello!")]

print(chat.invoke(messages).content)
for chunk in chat.stream(messages):
    print(chunk.content, end="", flush=True)
print()

# With check_embedding_ctx_length LangChain first downloads OpenAI's tokenizer. Without it the texts are sent unchanged.
embeddings = OpenAIEmbeddings(
    model="text-embedding-3-small", base_url=url, api_key="any-string", check_embedding_ctx_length=False
)
print(f"{len(embeddings.embed_query('Hello!'))} dimensions")

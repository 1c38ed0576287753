"""LangChain: pip install langchain-openai."""

import os

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

lumni = {"base_url": f"{os.environ['LUMNI_URL']}/v1", "api_key": os.environ["LUMNI_API_KEY"]}

print(ChatOpenAI(model="auto", **lumni).invoke("Name a prime.").text)

embeddings = OpenAIEmbeddings(
    model=os.environ.get("EMBEDDING_MODEL", "text-embedding-3-small"),
    check_embedding_ctx_length=False,
    **lumni,
)
print(len(embeddings.embed_query("a text")), "numbers")

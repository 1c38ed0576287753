"""LlamaIndex: pip install llama-index-llms-openai-like llama-index-embeddings-openai."""

import os

from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai_like import OpenAILike

lumni = {"api_base": f"{os.environ['LUMNI_URL']}/v1", "api_key": os.environ["LUMNI_API_KEY"]}
Settings.llm = OpenAILike(model="auto", is_chat_model=True, is_function_calling_model=True, **lumni)
Settings.embed_model = OpenAIEmbedding(
    model_name=os.environ.get("EMBEDDING_MODEL", "text-embedding-3-small"), **lumni
)

index = VectorStoreIndex.from_documents([Document(text="It is 18 degrees in Paris.")])
print(index.as_query_engine().query("How warm is it in Paris?"))

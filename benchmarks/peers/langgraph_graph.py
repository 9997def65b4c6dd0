"""A graph for LangGraph's dev server: one node asks a chat model that yields its tokens at once."""

import os
import time

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph

TOKENS = int(os.environ["TOKENS"])


def text() -> str:
    return f"@{time.monotonic_ns():019d};word "


class Speaker(BaseChatModel):
    """Yields tokens."""

    @property
    def _llm_type(self) -> str:
        return "speaker"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage(content="".join(text() for _ in range(TOKENS)))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for _ in range(TOKENS):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=text()))
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


async def speak(state: MessagesState):
    """Ask the model."""
    return {"messages": [await Speaker().ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").compile()

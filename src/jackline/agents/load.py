"""From the settings to the agent that a worker serves."""

from __future__ import annotations

import hashlib
import inspect
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

import msgspec
import structlog

from jackline.errors import ConfigError
from jackline.settings import environment
from jackline.tools import MAX_TASKS, OfferedTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from pydantic_ai.agent import AbstractAgent

    from jackline.agents.base import Agent
    from jackline.settings import Settings

_MEMBERS: Final = ("name", "revision", "repeats_itself", "opened", "describe", "run")
_KINDS: Final = "a pydantic_ai.Agent, a function that returns one, or an async function of one argument"


def load_agent(settings: Settings, environ: Mapping[str, str] | None = None) -> Agent:
    """The agent of `settings.agent` (`FILE.py:NAME`), or the built-in one.

    NAME is a `pydantic_ai.Agent` or a function without arguments that returns one; an async function
    over a `FunctionContext`; or any object with the methods of `Agent`. A list `NAME_tasks` beside it
    holds the tasks that it offers. `environ`: what the file of MCP servers may refer to and their programs
    need (`PATH`); this process's environment if not given. Raises `ConfigError` that says what to change.
    """
    if settings.agent is None:
        from jackline.agents.builtin import built_in

        return built_in(settings, environment() if environ is None else environ)
    path, name = _split(settings.agent)
    module = _load(path)
    found = _find(module, path, name)
    own = getattr(found, "revision", None)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    revision = settings.agent_revision or (own if isinstance(own, str) else digest)
    tasks = _tasks(getattr(module, f"{name}_tasks", ()), f"{path}: {name}_tasks")
    return agent_of(found, settings, where=f"{path}:{name}", name=name, revision=revision, tasks=tasks)


def _tasks(given: object, where: str) -> tuple[OfferedTask, ...]:
    """The tasks that a file offers, as plain data or as `OfferedTask`s."""
    try:
        plain = msgspec.to_builtins(given)
        tasks = msgspec.convert(plain, tuple[OfferedTask, ...])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: {error}; it must be a list of objects with title, prompt, and if you like "
            "description (texts) and asks (True, False)"
        ) from error
    if len(tasks) > MAX_TASKS:
        raise ConfigError(f"{where}: {len(tasks)} tasks; an agent offers {MAX_TASKS} at most")
    return tasks


def _split(spec: str) -> tuple[Path, str]:
    file, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier() or not file.endswith(".py"):
        raise ConfigError(f"agent {spec!r}: write it as FILE.py:NAME")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"agent {spec!r}: no such file {path}")
    return path, name


def _load(path: Path) -> ModuleType:
    """The file as a module of its own name, so that it hides no installed one; its neighbours can be
    imported as they can from a script."""
    # The name is the same in each process, so that what the file pickles can be unpickled.
    module_name = f"jackline_agent_{hashlib.sha256(bytes(path)).hexdigest()[:12]}"
    spec = spec_from_loader(module_name, SourceFileLoader(module_name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        # Foreign code: whatever it raises, the operator must read it as a fault of that file.
        del sys.modules[module_name]
        structlog.get_logger().error("agent_file_failed", file=str(path), exc_info=error)
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    return module


def _find(module: ModuleType, path: Path, name: str) -> object:
    if hasattr(module, name):
        return getattr(module, name)
    there = [
        known
        for known, value in vars(module).items()
        if not known.startswith("_") and _is_agent(value) and getattr(value, "__module__", None) != "builtins"
    ]
    hint = f"; there is {', '.join(sorted(there))}" if there else f"; it needs {_KINDS}"
    raise ConfigError(f"{path}: no {name} in it{hint}")


def _is_agent(value: object) -> bool:
    return _of_pydantic_ai(value) or inspect.iscoroutinefunction(value) or _is_ours(value)


def _of_pydantic_ai(value: object) -> TypeGuard[AbstractAgent[Any, Any]]:
    # Who has made one has imported it; for a file that has not, it would be seconds for nothing.
    if "pydantic_ai" not in sys.modules:
        return False
    from pydantic_ai.agent import AbstractAgent

    return isinstance(value, AbstractAgent)


def _is_ours(value: object) -> bool:
    return not inspect.isclass(value) and all(hasattr(value, member) for member in _MEMBERS)


def agent_of(
    found: object,
    settings: Settings,
    *,
    where: str,
    name: str,
    revision: str,
    tasks: Sequence[OfferedTask] = (),
) -> Agent:
    """What a worker can drive, made of any of the things that may be served (`load_agent`). `where`: what
    an error calls it. Raises `ConfigError`."""
    if not _is_agent(found) and callable(found) and not inspect.isclass(found):
        found = _made(found, where)
    if _of_pydantic_ai(found):
        return _pydantic(found, settings, where, name, revision, tasks)
    if inspect.iscoroutinefunction(found):
        from jackline.agents.function import FunctionAgent

        return FunctionAgent(found, name=name, revision=revision, rules=settings.tools, tasks=tasks)
    if not _is_ours(found):
        raise ConfigError(f"{where} is {_article(type(found).__name__)}; it must be {_KINDS}")
    agent = cast("Agent", found)
    if agent.name != name:
        raise ConfigError(f"{where} names itself {agent.name!r}; its `name` must be {name!r}")
    if tasks:
        raise ConfigError(f"{where} describes itself: give it its tasks in describe(), not in {name}_tasks")
    return agent


def _made(factory: object, where: str) -> object:
    assert callable(factory)
    required = [
        parameter.name
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if required:
        raise ConfigError(f"{where} needs arguments ({', '.join(required)}); it must be {_KINDS}")
    try:
        return factory()
    except Exception as error:
        # Foreign code, as above.
        structlog.get_logger().error("agent_factory_failed", agent=where, exc_info=error)
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error


def _pydantic(
    given: AbstractAgent[Any, Any],
    settings: Settings,
    where: str,
    name: str,
    revision: str,
    tasks: Sequence[OfferedTask],
) -> Agent:
    from jackline.agents.models import build_model
    from jackline.agents.pydantic import PydanticAgent
    from jackline.context import RunContext

    if given.deps_type not in {object, type(None), RunContext}:
        raise ConfigError(
            f"{where} wants deps of type {given.deps_type.__name__}; return a "
            "jackline.agents.pydantic.PydanticAgent(agent, name=…, revision=…, deps=…) that makes them"
        )
    choice = None if given.model is not None else build_model(settings)
    return PydanticAgent(
        given, name=name, revision=revision, rules=settings.tools, choice=choice, tasks=tasks
    )


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"

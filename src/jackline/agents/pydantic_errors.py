"""What Pydantic AI and model providers raise, in words a person can act on."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final, cast

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestTimeout,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)

from jackline.agents.faults import failed
from jackline.errors import AgentError

MODEL_ERRORS: Final = (ModelAPIError, ExceptionGroup, OSError)
"""What a request to a model can raise that is the provider's or the network's fault. A group is what a
model with fallbacks raises when all of them failed."""

RUN_ERRORS: Final = (AgentRunError, UserError)
"""What Pydantic AI raises for everything else that ends a run."""

_TRANSIENT: Final = (
    ModelConnectionError,
    ModelRateLimitError,
    ModelRequestTimeout,
    ModelServerError,
    ModelUnavailableError,
    OSError,
)
_TRANSIENT_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_SECRET: Final = re.compile(
    r"(?i)\b(?:sk|pk|rk|key|gsk|xai|hf|ghp)[-_][\w*.-]{6,}"  # keys by their usual beginnings
    r"|\bAIza[\w-]{10,}"
    r"|(?<=bearer )\S+"
    r"|(?<=api[-_]key[=:])\s*\S+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_LONGEST_TEXT: Final = 500
"""Characters of a provider's own words that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How a failed request to a model is tried again: `tries` in all, after `first` seconds, doubled
    each time up to `most`, each shortened by up to half by chance so that many runs do not come back
    at once. A provider that says how long to wait is obeyed up to `most`."""

    tries: int = 5
    first: float = 1.0
    most: float = 60.0

    def delay(self, failures: int, error: BaseException) -> float | None:
        """Seconds to wait after the `failures`-th failure in a row; None to give up."""
        if failures >= self.tries or not _transient(error):
            return None
        wanted = min(self.most, self.first * 2 ** (failures - 1))
        asked = getattr(error, "retry_after", None)
        least = min(self.most, asked) if isinstance(asked, (int, float)) else 0.0
        return max(least, wanted * random.uniform(0.5, 1.0))


def _transient(error: BaseException) -> bool:
    members = _members(error)
    if members:
        return any(_transient(one) for one in members)
    if isinstance(error, ModelQuotaExceededError):
        return False
    if isinstance(error, ModelHTTPError) and error.status_code in _TRANSIENT_STATUS:
        return True
    return isinstance(error, _TRANSIENT)


def without_secrets(text: str) -> str:
    """`text` with everything that looks like a key blotted out: providers echo keys in their errors."""
    return _SECRET.sub("[secret]", text)


_ADVICE: Final[tuple[tuple[type[ModelAPIError], str], ...]] = (
    # The provider's own words are left out where they like to repeat the key.
    (ModelAuthenticationError, "the provider refused the credentials{status}; check the worker's API key"),
    (ModelQuotaExceededError, "the account's quota or credit is used up{status}; see the provider's billing"),
    (ModelContextWindowExceededError, "the conversation is too long for it{status}; start a new one"),
    (
        ModelNotFoundError,
        "the provider does not know it{status}; check the settings model and model_base_url",
    ),
    (ModelRateLimitError, "the provider's rate limit is reached{status}: {words}"),
    (ModelRequestTimeout, "no answer in time: {words}"),
    (ModelConnectionError, "the provider could not be reached: {words}"),
)
_OTHERWISE: Final = "the provider failed{status}: {words}"


def describe(error: BaseException) -> str:
    """What went wrong with a request to a model, and what to do about it. No secret is in it."""
    members = _members(error)
    if members:
        return "; ".join(describe(one) for one in members)
    if not isinstance(error, ModelAPIError):
        return f"the model could not be reached: {_words(error)}"
    status = f" ({error.status_code})" if isinstance(error, ModelHTTPError) else ""
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), _OTHERWISE)
    return f"model {error.model_name}: {advice.format(status=status, words=_words(error))}"


def cause(error: BaseException) -> BaseException:
    """The one of ours among what came together, where there is one: it says more than the group."""
    return next((one for one in map(cause, _members(error)) if isinstance(one, AgentError)), error)


def _members(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


def _words(error: BaseException) -> str:
    text = getattr(error, "message", None)
    body = getattr(error, "body", None)
    shown = str(body) if body else text if isinstance(text, str) else str(error)
    shown = without_secrets(" ".join((shown or type(error).__name__).split()))
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[:_LONGEST_TEXT]}…"


def model_failed(error: BaseException, tries: int) -> AgentError:
    """The end of a run whose model could not be asked."""
    after = f" (tried {tries} times)" if tries > 1 else ""
    return failed("model_error", f"{describe(error)}{after}")


def run_failed(error: AgentRunError | UserError) -> AgentError:
    """The end of a run because of what Pydantic AI refuses."""
    match error:
        case UsageLimitExceeded():
            kind = "usage_limit"
        case UnexpectedModelBehavior():
            kind = "unexpected_model_behavior"
        case ModelAPIError():
            return model_failed(error, 1)
        case UserError():
            kind = "agent_misused"
        case _:
            kind = "agent_error"
    because = f": {error.__cause__}" if isinstance(error.__cause__, Exception) else ""
    return failed(kind, without_secrets(f"{error}{because}")[:4000])

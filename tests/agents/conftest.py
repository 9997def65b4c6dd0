"""No test of an agent may reach a real model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic_ai import models

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(autouse=True)
def _no_real_models() -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "ALLOW_MODEL_REQUESTS", False)
        yield

"""What a model's response costs, by the list prices that its provider publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse


def cost_usd(response: ModelResponse) -> float | None:
    """US dollars, from the table of prices that is installed (`genai-prices`; nothing is fetched). None for a
    model that is not in it: a local one, one of your own, or one newer than the table."""
    if response.model_name is None:
        return None
    try:
        return float(response.cost().total_price)
    except LookupError:
        return None

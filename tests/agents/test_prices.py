"""What responses cost."""

from __future__ import annotations

import pytest
from pydantic_ai.messages import ModelResponse
from pydantic_ai.usage import RequestUsage

from jackline.agents.prices import cost_usd
from jackline.events import Usage
from jackline.run import add_usage


def response(model: str | None, provider: str | None) -> ModelResponse:
    usage = RequestUsage(input_tokens=1000, output_tokens=100)
    return ModelResponse(parts=[], usage=usage, model_name=model, provider_name=provider)


def test_a_known_model_costs_what_its_provider_asks_for_tokens_in_and_out() -> None:
    assert cost_usd(response("gpt-4o", "openai")) == pytest.approx(1000 * 2.5e-6 + 100 * 10e-6)


@pytest.mark.parametrize(
    ("model", "provider"),
    [("gpt-4o", "nobody"), ("smollm2-135m", "openai"), ("demo", None), (None, None), (None, "openai")],
)
def test_what_is_not_in_the_table_costs_an_unknown_sum_not_nothing(
    model: str | None, provider: str | None
) -> None:
    assert cost_usd(response(model, provider)) is None


def spent(cost: float | None, tokens: int = 10) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=tokens, model="one", cost_usd=cost)


@pytest.mark.parametrize(
    ("costs", "total"),
    [
        ([0.25, 0.5], 0.75),
        ([0.0], 0.0),
        ([None], None),
        ([0.25, None], None),
        ([None, 0.25], None),
        ([], None),
    ],
)
def test_a_run_costs_the_sum_only_where_each_request_has_a_price(
    costs: list[float | None], total: float | None
) -> None:
    usage = Usage(input_tokens=0, output_tokens=0)
    for cost in costs:
        usage = add_usage(usage, spent(cost))
    assert usage.cost_usd == total

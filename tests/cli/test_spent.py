"""What a run came to, where that is known."""

from __future__ import annotations

import pytest

from jackline.cli.spent import Spent, dollars


def used(tokens: int, cost: float | None = None) -> dict[str, object]:
    return {"usage": {"input_tokens": tokens, "output_tokens": 1, "cost_usd": cost}}


def test_requests_are_summed_and_the_price_is_told_where_all_are_known() -> None:
    spent = Spent()
    spent.begin(0)
    assert spent.words() == ""
    spent.add({"state": "executing"})
    spent.add(used(1200, 0.25))
    spent.begin(7)  # the connection was lost, and goes on
    spent.add(used(300, 0.5))
    assert spent.words() == " (1,500 tokens in, 2 out, $0.75)"
    spent.add(used(1))
    assert spent.words() == " (1,501 tokens in, 3 out)"
    spent.add(used(1, 0.5))
    assert spent.words() == " (1,502 tokens in, 4 out)"


def test_who_has_not_seen_all_of_it_is_told_no_sum() -> None:
    """G1: `tail -n` and `--since` begin in the middle."""
    spent = Spent()
    spent.begin(40)
    spent.add(used(5))
    assert spent.words() == ""


def test_a_snapshot_has_the_sum_of_what_is_gone() -> None:
    spent = Spent()
    spent.begin(0)
    spent.add(used(5, 0.5))
    spent.begin_anew(used(100, 1.0))
    spent.add(used(20, 0.5))
    assert spent.words() == " (120 tokens in, 2 out, $1.50)"


@pytest.mark.parametrize(
    ("usd", "words"),
    [(0, "$0"), (0.0000012, "$0.0000012"), (0.00123, "$0.0012"), (0.01, "$0.01"), (1234.567, "$1,234.57")],
)
def test_small_prices_keep_two_digits(usd: float, words: str) -> None:
    assert dollars(usd) == words

"""The waits and the watchdog, without a clock."""

from __future__ import annotations

import pytest

from jackline.client.pace import Backoff, Pace, Pulse, retry_after


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(Pace(backoff_s=1, backoff_cap_s=5), lambda: 0.0)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.progress()
    assert backoff.next() == 1


def test_a_command_waits_no_longer_than_its_own_cap() -> None:
    backoff = Backoff(Pace(backoff_s=1, backoff_cap_s=20, command_cap_s=3), lambda: 0.0)
    assert [backoff.next(command=True) for _ in range(4)] == [1, 2, 3, 3]
    assert backoff.next(7, command=True) == 7
    assert Backoff(Pace(backoff_s=1, backoff_cap_s=0.5), lambda: 0.0).next(command=True) == 1


def test_waits_are_spread() -> None:
    assert Backoff(Pace(backoff_s=1), lambda: 1.0).next() == 1.5


def test_a_servers_wish_is_the_least() -> None:
    backoff = Backoff(Pace(backoff_s=1), lambda: 0.0)
    assert backoff.next(7) == 7
    backoff.base_s = 3
    backoff.progress()
    assert backoff.next() == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("5", 5),
        (" 0 ", 0),
        ("soon", None),
        ("", None),
        ("-3", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 10.0) == seconds


def test_silence_is_counted_from_the_last_sign() -> None:
    """G9"""
    pulse = Pulse(Pace(heartbeat_s=10))
    pulse.opened(0)
    assert not pulse.silent(25, pulse.limit_s)
    assert pulse.silent(25.1, pulse.limit_s)
    pulse.heard(20)
    assert not pulse.silent(45, pulse.limit_s)


def test_a_faster_heart_shortens_the_patience_and_a_slower_one_lengthens_it() -> None:
    pulse = Pulse(Pace(heartbeat_s=15))
    pulse.beat(100)
    pulse.beat(101)
    assert pulse.limit_s == 2.5
    pulse.beat(161)
    assert pulse.limit_s == 150


def test_what_lies_between_connections_is_no_interval() -> None:
    pulse = Pulse(Pace(heartbeat_s=15))
    pulse.beat(100)
    pulse.opened(0)
    pulse.beat(200)
    assert pulse.limit_s == 37.5


def test_a_heart_slower_than_assumed_is_waited_for_longer_each_time() -> None:
    pulse = Pulse(Pace(heartbeat_s=15))
    pulse.gave_up()
    assert pulse.limit_s == 75


def test_a_clock_set_back_does_not_lengthen_the_patience() -> None:
    pulse = Pulse(Pace(heartbeat_s=10))
    pulse.opened(1000)
    assert not pulse.silent(0, pulse.limit_s)
    assert pulse.silent(26, pulse.limit_s)

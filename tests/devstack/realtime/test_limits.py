"""Counting, with a clock of the test's own."""

import pytest
from threadline_devstack.errors import StackError
from threadline_devstack.realtime import limits
from threadline_devstack.realtime.limits import Calls, Limits, Rate


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def test_rate_is_an_average_over_a_minute(clock: Clock) -> None:
    rate = Rate(2)
    rate.add(120)  # a burst is allowed
    assert not rate.is_exceeded()
    assert rate.is_exceeded(more=1)
    clock.now += 30
    rate.add()
    assert rate.is_exceeded()
    clock.now += 35.1  # the burst is over a minute ago
    assert not rate.is_exceeded()
    rate.add(119)
    assert not rate.is_exceeded()
    rate.add()
    assert rate.is_exceeded()


def test_calls_are_counted_in_windows(clock: Clock) -> None:
    calls = Calls(2, 30)
    assert [calls.is_one_too_many() for _ in range(3)] == [False, False, True]
    clock.now += 30.1
    assert not calls.is_one_too_many()


def test_environment_sets_the_limits_of_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.from_environment() == Limits()
    monkeypatch.setenv("THREADLINE_REALTIME_EVENTS_PER_SECOND", "100")
    assert Limits.from_environment() == Limits(events_per_second=100)
    monkeypatch.setenv("THREADLINE_REALTIME_CLIENTS", "many")
    with pytest.raises(StackError, match="THREADLINE_REALTIME_CLIENTS must be a whole number above zero, not 'many'"):
        Limits.from_environment()

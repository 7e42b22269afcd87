"""Where the suite did not run, and why."""

import pytest

from tests.supabase.conftest import ELSEWHERE


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_suite_runs_on(name: str) -> None:
    if reason := ELSEWHERE[name]:
        pytest.skip(reason)

"""Report the targets that were skipped, and why."""

import pytest

from tests.supabase.conftest import ELSEWHERE


@pytest.mark.parametrize("name", ELSEWHERE)
def test_suite_runs_against_the_target(name: str) -> None:
    if reason := ELSEWHERE[name]:
        pytest.skip(reason)

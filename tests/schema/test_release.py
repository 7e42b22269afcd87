"""`make release` dates the changelog and knows every file that states the version."""

from datetime import date

import pytest
from threadline import __version__

from tests.support.release import date_changelog, list_versions

DAY = date(2027, 1, 2)


def test_unreleased_changes_get_the_version() -> None:
    head, rest = "# Changelog\n\n## Unreleased\n", "\n- A change.\n\n## 0.1.0 - 2026-12-01\n\n- The first.\n"
    assert date_changelog(head + rest, "0.2.0", DAY) == f"{head}\n## 0.2.0 - 2027-01-02\n{rest}"


@pytest.mark.parametrize(
    "text",
    [
        "## Unreleased\n\n- A change.\n\n## 0.2.0 - 2027-01-01\n",
        "## Unreleased\n\n## 0.1.0 - 2026-12-01\n\n- The first.\n",
        "# Changelog\n",
    ],
    ids=["released already", "nothing unreleased", "no section"],
)
def test_changelog_without_a_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nothing under Unreleased"):
        date_changelog(text, "0.2.0", DAY)


def test_all_files_state_the_same_version() -> None:
    assert set(list_versions().values()) == {__version__}

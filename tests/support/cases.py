"""Ids of parametrized cases."""

import re

from tests.support import world

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NAMES = {text: name for name, text in vars(world).items() if re.fullmatch(UUID, str(text))}


def named(text: str) -> str:
    """Replace the ids of the seed by their names."""
    return re.sub(UUID, lambda found: NAMES.get(found[0], found[0]), text)

"""Sizes of open-ended tests: small in `make test`, large in `make soak`."""

import os
from typing import TypeVar

IS_SOAK = os.environ.get("THREADLINE_SOAK") == "1"
Amount = TypeVar("Amount", int, float)


def bounded(short: Amount, long: Amount) -> Amount:
    """Return the first value in `make test`, the second in `make soak`."""
    return long if IS_SOAK else short

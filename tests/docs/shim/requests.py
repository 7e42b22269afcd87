"""The part of `requests` that the example needs, if it is not installed."""

from httpx import post as post

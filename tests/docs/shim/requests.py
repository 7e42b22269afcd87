"""What the example needs of `requests`, where that is not installed."""

from httpx import post as post

"""Calls of the genuine Storage that the devstack does not support; docs/platform.md lists them."""

import re

CALLS = {
    r"PUT /object/(?!upload/sign/).+": "PUT /object; upload with `x-upsert: true` instead",
    r"POST /object/move": "moving objects",
    r"POST /object/copy": "copying objects",
    r"POST /object/list-v2/.+": "list-v2",
    r"(GET|HEAD) /object/info/(public|sign|authenticated)/.+": "info of public and signed objects",
    r"\w+ /upload/resumable.*": "resumable uploads (TUS)",
    r"(PUT|PATCH|DELETE) /bucket/.+": "changing and deleting buckets; change storage.buckets with SQL instead",
    r"POST /bucket/.+/empty": "emptying buckets",
    r"(GET|HEAD) /render/.+": "image transformations",
    r"\w+ /(s3|iceberg|vector|cdn)(/.*)?": "the S3, Iceberg, vector and CDN interfaces",
}
PATTERNS = [(re.compile(pattern), name) for pattern, name in CALLS.items()]


def find_unsupported(method: str, path: str) -> str | None:
    """Return what a call wants that the devstack does not support, None for any other call."""
    return next((name for pattern, name in PATTERNS if pattern.fullmatch(f"{method} {path}")), None)

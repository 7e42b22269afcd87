"""What Storage refuses, in its own words. Almost every refusal is HTTP 400; the status proper is in the body."""

from typing import Any


class Refusal(Exception):  # noqa: N818
    """An answer that is not what was asked for.

    Args:
        status: the status proper.
        code: for programs.
        error: what older clients read instead of the code.
        message: for people.
    """

    def __init__(self, status: int, code: str, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"statusCode": str(status), "code": code, "error": error, "message": message}

    @property
    def http_status(self) -> int:
        """Return the status that HTTP is told."""
        return self.status if self.status in {416, 500} else 400


def access_denied(message: str = "new row violates row-level security policy") -> Refusal:
    """Return the refusal of a policy, or of a token."""
    return Refusal(403, "AccessDenied", "Unauthorized", message)


def invalid_request(message: str) -> Refusal:
    """Return the refusal of a request that lacks something."""
    return Refusal(400, "InvalidRequest", "Error", message)


def invalid_key(message: str) -> Refusal:
    """Return the refusal of a path."""
    return Refusal(400, "InvalidKey", "InvalidKey", f"Invalid key: {message}")


def invalid_link(code: str, message: str) -> Refusal:
    """Return the refusal of a signed link."""
    return Refusal(400, code, code, message)


def invalid_type(media_type: str) -> Refusal:
    """Return the refusal of a media type that the bucket does not take."""
    return Refusal(415, "InvalidMimeType", "invalid_mime_type", f"mime type {media_type} is not supported")


def no_bucket() -> Refusal:
    """Return the answer about a bucket that is not there, or not for the caller."""
    return Refusal(404, "NoSuchBucket", "Bucket not found", "Bucket not found")


def no_object() -> Refusal:
    """Return the answer about an object that is not there, or not for the caller."""
    return Refusal(404, "NoSuchKey", "not_found", "Object not found")


def exists_already() -> Refusal:
    """Return the refusal of a path that is taken."""
    return Refusal(409, "KeyAlreadyExists", "Duplicate", "The resource already exists")


def too_large() -> Refusal:
    """Return the refusal of too many bytes."""
    return Refusal(413, "EntityTooLarge", "Payload too large", "The object exceeded the maximum allowed size")


def no_such_range() -> Refusal:
    """Return the answer to a range that the object does not have."""
    return Refusal(416, "InvalidRange", "InvalidRange", "The requested range is not satisfiable")

"""Refusals in the words of Storage. Almost every one is HTTP 400; the body holds the real status."""

from typing import Any


class Refusal(Exception):  # noqa: N818
    """An answer that refuses a call.

    Args:
        status: the status in the body; HTTP says 400 for most of them.
        code: for programs.
        error: older clients read it instead of the code.
        message: for people.
    """

    def __init__(self, status: int, code: str, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"statusCode": str(status), "code": code, "error": error, "message": message}

    @property
    def http_status(self) -> int:
        """Return the status of the HTTP answer."""
        return self.status if self.status in {416, 500, 501} else 400


def access_denied(message: str = "new row violates row-level security policy") -> Refusal:
    """Return the refusal of a policy, or of a token."""
    return Refusal(403, "AccessDenied", "Unauthorized", message)


def invalid_request(message: str) -> Refusal:
    """Return the refusal of a wrong request."""
    return Refusal(400, "InvalidRequest", "Error", message)


def invalid_key(message: str) -> Refusal:
    """Return the refusal of a path."""
    return Refusal(400, "InvalidKey", "InvalidKey", f"Invalid key: {message}")


def invalid_link(code: str, message: str) -> Refusal:
    """Return the refusal of a signed link."""
    return Refusal(400, code, code, message)


def invalid_type(media_type: str) -> Refusal:
    """Return the refusal of a media type that the bucket does not allow."""
    return Refusal(415, "InvalidMimeType", "invalid_mime_type", f"mime type {media_type} is not supported")


def no_bucket() -> Refusal:
    """Return the answer about a bucket that is missing or hidden from the caller."""
    return Refusal(404, "NoSuchBucket", "Bucket not found", "Bucket not found")


def no_object() -> Refusal:
    """Return the answer about an object that is missing or hidden from the caller."""
    return Refusal(404, "NoSuchKey", "not_found", "Object not found")


def exists_already() -> Refusal:
    """Return the refusal of a path that is in use."""
    return Refusal(409, "KeyAlreadyExists", "Duplicate", "The resource already exists")


def too_large() -> Refusal:
    """Return the refusal of too many bytes."""
    return Refusal(413, "EntityTooLarge", "Payload too large", "The object exceeded the maximum allowed size")


def no_such_range() -> Refusal:
    """Return the refusal of a range that the object does not have, or that cannot be read."""
    return Refusal(416, "InvalidRange", "InvalidRange", "The requested range is not satisfiable")


def invalid_bucket_name() -> Refusal:
    """Return the refusal of an empty bucket name."""
    return Refusal(400, "InvalidBucketName", "Invalid Input", "Bucket name invalid")


def internal(message: str = "Internal Server Error") -> Refusal:
    """Return the answer to a failure of the server."""
    return Refusal(500, "InternalError", "Internal", message)


def unsupported(call: str) -> Refusal:
    """Return the answer to a call of the genuine Storage that the devstack does not support."""
    message = f"The devstack does not support {call}; use a Supabase project, or `supabase start`, for it."
    return Refusal(501, "NotImplemented", "Not Implemented", message)

"""Requests that are not answered as they were meant: a status of HTTP, and a text that says what will work."""

from collections.abc import Mapping

from anomalybench.core.errors import DataError
from anomalybench.vision.decoding import ImageFormatError, ImageSizeError


class RefusedError(Exception):
    """A request that is refused.

    Args:
        status: Of HTTP.
        text: What was seen, and what will work.
        reason: A word for the metrics, such as `queue_full`.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, text: str, reason: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.reason, self.headers = status, text, reason or f"status_{status}", headers or {}


def of_image(error: DataError) -> RefusedError:
    """The refusal of an image that cannot be decoded."""
    if isinstance(error, ImageSizeError):
        return RefusedError(413, str(error), "image_too_large")
    if isinstance(error, ImageFormatError):
        return RefusedError(415, str(error), "image_format")
    return RefusedError(422, str(error), "image_broken")

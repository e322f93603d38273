"""Bodies of requests, held in memory only: bounded before they are read, while they are read, and once they are there.

Nothing of a request is ever used as a path or written to a file. Memory is bounded by a budget over all requests, so
that many large uploads at once are refused like a full queue. A form's parts are parsed in a worker thread.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from anomalybench.core.errors import shortened
from anomalybench.service.refusals import RefusedError
from anomalybench.service.web import FormParserError, MultipartParser, Request, parse_options_header

FORM = "multipart/form-data"
IMAGE, PART = "image", "part"
"""Names of the form's fields."""
_LONGEST_NAME = 1024
LONGEST_PART = 256
_FIELDS = (IMAGE, PART)


class Upload(NamedTuple):
    """An image as it was sent.

    Attributes:
        file: Name of the file as it was given; it is shown and logged, and nothing else.
        contents: The file.
    """

    file: str | None
    contents: bytes


class Form(NamedTuple):
    """What a request for verdicts has brought.

    Attributes:
        images: At least one.
        part: Id of the part that they show.
    """

    images: Sequence[Upload]
    part: str | None


class Bounds(NamedTuple):
    """What the body of a request may be.

    Attributes:
        most: Greatest length in bytes.
        advice: What to do where it is longer.
        weight: Bytes of memory that are reserved for each byte of it.
    """

    most: int
    advice: str = "Send fewer or smaller images (--max-body-mb)."
    weight: int = 1


class Budget:
    """Bytes of requests that may be in memory at the same time.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._free = most

    @contextmanager
    def reserved(self) -> Iterator["_Reserved"]:
        """Takes bytes while a request is worked on, and gives them back."""
        taken = _Reserved(self)
        try:
            yield taken
        finally:
            self._free += taken.n

    def take(self, n: int) -> None:
        """Take bytes.

        Raises:
            RefusedError: There are not so many.
        """
        if n > self._free:
            raise RefusedError(429, "too many uploads at the same time. Try again.", "uploads", {"Retry-After": "1"})
        self._free -= n


class _Reserved:
    def __init__(self, budget: Budget) -> None:
        self._budget, self.n = budget, 0

    def take(self, n: int) -> None:
        self._budget.take(n)
        self.n += n


async def read_body(request: Request, bounds: Bounds, reserved: _Reserved, timeout_s: float) -> bytes:
    """The body of a request.

    Args:
        request: Whose.
        bounds: What it may be.
        reserved: Where its memory is taken from.
        timeout_s: How long it may take to arrive.

    Raises:
        RefusedError: It is too large, or does not arrive in time or at all.
    """
    most = bounds.most
    too_large = RefusedError(413, f"the request has more than {most / 1e6:g} MB. {bounds.advice}", "body_too_large")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > most):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "the connection was closed before the request had arrived.", "disconnected")
                chunk = message.get("body", b"")
                if len(body) + len(chunk) > most:
                    raise too_large
                reserved.take(len(chunk) * bounds.weight)
                body += chunk
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise RefusedError(408, f"the request did not arrive within {timeout_s:g} s.", "slow_upload") from None


def check_type(request: Request, wanted: str) -> None:
    """See that a request's content type is the one that is wanted; 415 if it is not."""
    found = request.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != wanted:
        raise RefusedError(415, f"Content-Type: {shortened(found) if found else 'missing'}. Send {wanted}.", "type")


def read_form(body: bytes, content_type: str, max_images: int) -> Form:
    """The images and fields of a form.

    Args:
        body: As multipart/form-data.
        content_type: Names its boundary.
        max_images: How many images are allowed.

    Raises:
        RefusedError: It is cut short or damaged (400), has too many images (413), or lacks them (422).
    """
    images, part = [], None
    for one in _parts(body, content_type, max_images + len(_FIELDS)):
        if one.name == IMAGE:
            images.append(Upload(one.file, bytes(one.contents)))
        elif one.name == PART:
            part = _part_id(bytes(one.contents))
        else:
            raise RefusedError(422, f"field {shortened(one.name)}: there are {', '.join(_FIELDS)}.", "field")
    if not images:
        raise RefusedError(422, "no image: send at least one file as the field 'image'.", "no_image")
    if len(images) > max_images:
        raise _too_many(max_images)
    return Form(images, part)


def _part_id(contents: bytes) -> str | None:
    text = contents.decode("utf-8", "replace").strip()
    if len(text) > LONGEST_PART:
        raise RefusedError(422, f"part: an id of at most {LONGEST_PART} characters.", "field")
    return text or None


class _Part:
    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.contents = bytearray()
        self.name = ""
        self.file: str | None = None

    def name_it(self) -> None:
        """Take the names from its headers."""
        _, options = parse_options_header(self.headers.get(b"content-disposition"))
        name, file = (options.get(key) for key in (b"name", b"filename"))
        if name is None:
            raise RefusedError(400, "a part of the form has no name.", "form")
        self.name = name.decode("utf-8", "replace")
        if file is not None:
            self.file = file.decode("utf-8", "replace")
            if len(self.file) > _LONGEST_NAME:
                raise RefusedError(422, f"a file name of more than {_LONGEST_NAME} characters.", "file_name")


class _Collector:
    """Callbacks of the parser: they collect parts."""

    def __init__(self, most: int, max_images: int) -> None:
        self.parts: list[_Part] = []
        self.complete = False
        self._most, self._max_images = most, max_images
        self._field, self._value = bytearray(), bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == self._most:
            raise _too_many(self._max_images)
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        self.parts[-1].name_it()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].contents += memoryview(data)[start:end]

    def on_end(self) -> None:
        self.complete = True


def _parts(body: bytes, content_type: str, most: int) -> list[_Part]:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise RefusedError(400, f"Content-Type: {shortened(content_type)} names no boundary.", "form")
    found = _Collector(most, most - len(_FIELDS))
    callbacks = {name: getattr(found, name) for name in dir(found) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RefusedError(400, f"the form cannot be read ({shortened(str(error))}).", "form") from None
    if not found.complete:
        raise RefusedError(400, "the form is cut short: its last boundary is missing.", "form")
    return found.parts


def _too_many(max_images: int) -> RefusedError:
    return RefusedError(413, f"more than {max_images} images in a request. Send fewer (--max-images).", "images")

"""What a service is started with: places, limits, and the key that requests must carry."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anomalybench.core.errors import UsageError
from anomalybench.service.traffic import Split

LOG = Path("service") / "decisions.sqlite"
"""Where the log of decisions lies in a results folder, unless another place is named."""
KEY_VARIABLE = "ANOMALYBENCH_API_KEY"
_LEAST_KEY = 8


@dataclass(frozen=True)
class Settings:
    """What a service is started with.

    Attributes:
        results: Results folder with the promoted models.
        log: SQLite file of decisions and feedback; None for `service/decisions.sqlite` in the results folder.
        splits: Traffic between versions, by name of the model; the current version gets all of it elsewhere.
        workers: How many images are computed at the same time; the cores are shared among them.
        queue: How many requests are worked on or wait; one more is refused with 429.
        max_megapixels: Greatest image.
        max_body_mb: Greatest request in megabytes.
        max_images: Most images in a request.
        timeout_s: Longest time that a request may take to arrive, and again to be answered.
        api_key: What requests must carry; None for none.
        poll_s: How often the folder of models is looked at.
        window: How many of the last images of a version are compared with its calibration images.
    """

    results: Path
    log: Path | None = None
    splits: Mapping[str, Split] = field(default_factory=dict)
    workers: int = 2
    queue: int = 128
    max_megapixels: float = 50.0
    max_body_mb: float = 64.0
    max_images: int = 16
    timeout_s: float = 30.0
    api_key: str | None = field(default=None, repr=False)
    poll_s: float = 1.0
    window: int = 200

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("queue", 1), ("max_images", 1), ("window", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least {least}.")
        for name in ("max_megapixels", "max_body_mb", "timeout_s", "poll_s"):
            if not 0 < getattr(self, name) < float("inf"):
                flag = name.removesuffix("_s").replace("_", "-")
                raise UsageError(f"--{flag} {getattr(self, name):g}: a number greater than 0.")

    @property
    def log_file(self) -> Path:
        """Where decisions are kept."""
        return self.log or self.results / LOG

    @property
    def max_body(self) -> int:
        """Greatest request in bytes."""
        return int(self.max_body_mb * 1e6)


def api_key(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The key that requests must carry: the first line of a file, else `ANOMALYBENCH_API_KEY`, else none.

    Raises:
        UsageError: The file cannot be read, or the key is shorter than 8 characters or not plain text.
    """
    if file is None:
        key, where = environment.get(KEY_VARIABLE), KEY_VARIABLE
        if key is None:
            return None
    else:
        where = f"--api-key-file {file}"
        try:
            key = file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
            raise UsageError(f"{where}: cannot be read ({reason}).") from None
    key = key.strip()
    if len(key) < _LEAST_KEY or not (key.isascii() and key.isprintable()):
        raise UsageError(f"{where}: a key has at least {_LEAST_KEY} letters, digits or signs of ASCII, in one line.")
    return key

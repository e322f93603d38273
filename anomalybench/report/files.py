"""How reports reach the disk: written aside and renamed, so that a reader never sees half of one."""

import os
import tempfile
from pathlib import Path

from anomalybench.core.errors import StoreError
from anomalybench.core.leftovers import sweep

_ASIDE = ".anomalybench-aside."


def write_text(file: Path, text: str, option: str = "--results DIR") -> None:
    """Write a UTF-8 file, its folder included, at once or not at all.

    Args:
        file: Where to.
        text: What.
        option: How to name another place, for the error.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep(file.parent, f"{_ASIDE}*")
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=_ASIDE)
        aside = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            aside.chmod(0o644)
            aside.replace(file)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Name another: {option}.") from None

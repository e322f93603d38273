"""Arrays that models of a results folder share, and which of them no model needs any more."""

import re
import time
from contextlib import suppress
from pathlib import Path

from anomalybench.core.errors import StoreError
from anomalybench.core.files import ASIDE, sweep
from anomalybench.core.model_card import CARD
from anomalybench.deploy.bundle import SHARED

_YOUNG_S = 3600
"""An array that was written or used in the last hour may belong to a model whose card is not written yet."""
_HASH = r"[0-9a-f]{64}"


def unused(results: Path) -> list[Path]:
    """Shared arrays that no model of a job names, sorted; models that are just being written count as well.

    Any hash in a card's text counts, so that a card that is damaged or of a newer version loses nothing.

    Raises:
        StoreError: A card cannot be read, so that nobody knows which arrays it names.
    """
    named: set[str] = set()
    for card in (results / "runs").rglob(CARD):
        try:
            named.update(found.decode() for found in re.findall(_HASH.encode(), card.read_bytes()))
        except FileNotFoundError:  # replaced or removed meanwhile
            continue
        except OSError as error:
            raise StoreError(f"{card}: cannot be read ({error.strerror}); no shared weights are removed.") from None
    there = (results / SHARED).glob("*.safetensors")
    return sorted(file for file in there if re.fullmatch(_HASH, file.stem) and file.stem not in named)


def prune(results: Path, unused_s: float = _YOUNG_S) -> list[Path]:
    """Remove what `unused` lists and nobody has used for a while; returns what is gone.

    Args:
        results: The results folder.
        unused_s: For how many seconds.

    Raises:
        StoreError: A card cannot be read.
    """
    gone = []
    for file in unused(results):
        with suppress(OSError):  # what cannot be removed stays
            if file.stat().st_mtime < time.time() - unused_s:
                file.unlink()
                gone.append(file)
    sweep(results / SHARED, f"{ASIDE}*")
    return gone

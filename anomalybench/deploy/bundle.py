"""A model's folder: `model.json`, and its arrays in `weights.safetensors`.

In a results folder, large arrays lie once in `weights/`, named by the hash of their contents, however many models have
them: most of a model is a frozen network, the same in every job. Every array is checked against the hash that the card
names, so that a model is whole and its own, or refused.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from anomalybench.core.errors import StoreError, shortened
from anomalybench.core.files import write_aside
from anomalybench.core.model_card import CARD, CARD_SCHEMA, ModelCard

WEIGHTS = "weights.safetensors"
SHARED = "weights"
"""Folder of the arrays that models of a results folder share."""
_LARGE = 2**16
"""Bytes from which on an array is shared."""
_ABOVE = 5
"""So many folders above a model's may hold the shared arrays: those of a job in a results folder."""
_VALUES = "values"
_KINDS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
          "float64")  # fmt: skip
"""What safetensors holds of NumPy's kinds."""


class Bundle(NamedTuple):
    """A model as it is kept.

    Attributes:
        card: What it says of itself.
        state: Its arrays by name, see `Method.state`.
    """

    card: ModelCard
    state: Mapping[str, NDArray[Any]]


def unfit(state: Mapping[str, NDArray[Any]]) -> str | None:
    """Why a state cannot be kept; None if it can."""
    odd = [f"{name} ({values.dtype.str})" for name, values in state.items() if not _fits(values.dtype)]
    return f"its state holds arrays that cannot be kept: {', '.join(odd)}" if odd else None


def _fits(kind: np.dtype[Any]) -> bool:
    return kind.name in _KINDS and kind.isnative


def write(folder: Path, bundle: Bundle, shared: Path | None = None) -> ModelCard:
    """Write a model into a folder that is there; the card comes last and names the arrays' hashes.

    Args:
        folder: Where to.
        bundle: What to write.
        shared: Where large arrays lie once for many models; None for a folder that is complete by itself.

    Raises:
        OSError: It cannot be written.
    """
    hashes, own = {}, {}
    for name, values in bundle.state.items():
        hashes[name] = digest(values)
        if shared is None or values.nbytes < _LARGE:
            own[name] = values.copy(order="C")
        else:
            _share(shared / f"{hashes[name]}.safetensors", values)
    with write_aside(folder / WEIGHTS) as aside:
        save_file(own, aside)
    card = bundle.card.model_copy(update={"arrays": hashes})
    write_card(folder, card)
    return card


def write_card(folder: Path, card: ModelCard) -> None:
    """Put the card of a model in place of an earlier one; OSError if it cannot be written."""
    with write_aside(folder / CARD) as aside:
        aside.write_text(card.model_dump_json(indent=1), encoding="utf-8")


def read_card(folder: Path) -> ModelCard:
    """The card of a model's folder.

    Raises:
        StoreError: There is none, it is damaged, or a newer version wrote it.
    """
    file = folder / CARD
    try:
        return card_of(file.read_bytes(), str(file))
    except FileNotFoundError:
        if folder.is_dir():
            raise StoreError(f"{folder}: no model, since there is no {CARD}. Name the folder of one.") from None
        raise StoreError(f"{folder}: there is no such folder of a model.") from None
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror}).") from None


def card_of(text: bytes | str, where: str) -> ModelCard:
    """The card that a text holds.

    Args:
        text: JSON.
        where: Where it was read, for the error.

    Raises:
        StoreError: It is damaged, or a newer version wrote it.
    """
    try:
        content = json.loads(text)
        schema = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(schema, int) and schema > CARD_SCHEMA:
            raise StoreError(
                f"{where}: a model of layout {schema}, which a newer anomalybench wrote; this one reads up to "
                f"{CARD_SCHEMA}. Install the newer version."
            )
        return ModelCard.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(f"{where}: no card of a model ({shortened(place)}: {first['msg']}).") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: no card of a model ({shortened(str(error))}).") from None


def read(folder: Path) -> Bundle:
    """A model from its folder.

    Raises:
        StoreError: It is cut short, damaged or of a newer version; the text names the file or the array.
    """
    card = read_card(folder)
    own = _load(folder / WEIGHTS)
    shared = shared_folder(folder)
    state = {}
    for name, expected in card.arrays.items():
        values = own.get(name)
        if values is None:
            values = _shared(shared, name, expected, folder)
        if digest(values) != expected:
            raise StoreError(f"{folder}: array {shortened(name)} is another one than {CARD} says.")
        state[name] = values
    return Bundle(card, state)


def shared_folder(folder: Path) -> Path | None:
    """Where the arrays lie that a model in a results folder shares with others; None where there is no such folder."""
    above = folder.resolve().parents[:_ABOVE]
    return next((parent / SHARED for parent in above if (parent / SHARED).is_dir()), None)


def digest(values: NDArray[Any]) -> str:
    """Hash of an array's kind, shape and contents."""
    content = np.ascontiguousarray(values)
    about = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(about + content.tobytes()).hexdigest()


def _share(target: Path, values: NDArray[Any]) -> None:
    """Have an array in the shared folder; a whole one that is there already counts as just used."""
    with contextlib.suppress(StoreError, KeyError):
        if digest(_load(target)[_VALUES]) == target.stem:
            with contextlib.suppress(OSError):
                os.utime(target)
            return
    with write_aside(target) as aside:
        save_file({_VALUES: values.copy(order="C")}, aside)


def _shared(shared: Path | None, name: str, expected: str, folder: Path) -> NDArray[Any]:
    if shared is None or not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise StoreError(f"{folder}: array {shortened(name)} is missing: not in {WEIGHTS}, and no folder shares it.")
    found = _load(shared / f"{expected}.safetensors").get(_VALUES)
    if found is None:
        raise StoreError(f"{shared / expected}.safetensors: holds no array.")
    return found


def _load(file: Path) -> dict[str, NDArray[Any]]:
    try:
        found: dict[str, NDArray[Any]] = load_file(file)
    except FileNotFoundError:
        raise StoreError(f"{file}: is missing; the model is not whole.") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file}: cannot be read as weights ({shortened(str(error))}).") from None
    return found

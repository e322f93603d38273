"""Exporting a model: written aside, proved, and only then put in its place.

A file whose decisions differ from the record's never lies where a service could find it, unless that was asked for.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from anomalybench.core.errors import StoreError
from anomalybench.core.files import ASIDE, sweep, sync, write_aside
from anomalybench.core.model_card import CARD, ModelCard
from anomalybench.deploy import bundle, onnx_export, onnx_model, openvino_model
from anomalybench.deploy.exported import public, same_fit
from anomalybench.deploy.fitted import Fitted
from anomalybench.deploy.latency import LATENCY
from anomalybench.deploy.model import ONNX, OPENVINO, Model
from anomalybench.deploy.parity import PARITY, PARITY_OPENVINO, Evidence, Parity, prove

Format = Literal["onnx", "openvino"]
_PROOF: dict[Format, str] = {"onnx": PARITY, "openvino": PARITY_OPENVINO}
_BIN = "model.bin"
_OF_ONE_FIT = (ONNX, PARITY, OPENVINO, _BIN, PARITY_OPENVINO, LATENCY)
"""What lies in a folder beside the card, and is true of that card's fit and threshold only."""


class Exported(NamedTuple):
    """What an export left.

    Attributes:
        files: The exported files, the proof, and the card where it is new.
        parity: The proof; None where there was no record to compare with.
    """

    files: list[Path]
    parity: Parity | None


def export(
    fitted: Fitted,
    folder: Path,
    target: Format = "onnx",
    evidence: Evidence | None = None,
    *,
    allow_different: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> Exported:
    """Export a model into a folder and prove that it decides as its record does.

    Args:
        fitted: The model.
        folder: Where to; it is made. It may be the model's own.
        target: What to make: one ONNX file, or OpenVINO's two.
        evidence: What the record holds of its images; None for an export without a proof.
        allow_different: Keep it although it decides otherwise.
        done: Called with the number of images that were compared so far.

    Raises:
        DataError: Images of the record cannot be read.
        StoreError: It decides otherwise, another model lies in the folder, or it cannot be written.
        UsageError: The method has no graph, or a package is missing.
    """
    onnx_export.check_installed()
    if target == "openvino":
        openvino_model.check_installed()
    graph = fitted.method.graph()
    _check_free(folder, fitted.card)
    with _aside(folder) as aside:
        onnx_export.export(fitted.card, graph, aside / ONNX)
        files = [aside / ONNX]
        if target == "openvino":
            openvino_model.convert(aside / ONNX, fitted.card, aside / OPENVINO)
            files = [aside / _BIN, aside / OPENVINO]
        model = onnx_model.load(aside / ONNX) if target == "onnx" else openvino_model.load(aside)
        parity = None
        if evidence is not None:
            parity = prove(model, Model(fitted.card, fitted.method.predict, "torch"), evidence, files, done)
            _check_equal(parity, fitted.card, allow_different=allow_different)
        return Exported(_put(files, folder, fitted.card, target, parity), parity)


def _check_free(folder: Path, card: ModelCard) -> None:
    """StoreError if another model lies in the folder: its card must not become ours."""
    if not (folder / CARD).exists():
        return
    there = bundle.read_card(folder)
    if there.record != card.record or (not same_fit(there, card) and (folder / bundle.WEIGHTS).exists()):
        raise StoreError(f"{folder}: holds another model. Name another folder: --out DIR.")


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder to write into, gone in the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, f"{ASIDE}*")
        aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder))
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error}). Name another: --out DIR.") from None


def _check_equal(parity: Parity, card: ModelCard, *, allow_different: bool) -> None:
    found = parity.job
    if found.decisions and not allow_different:
        raise StoreError(
            f"{card.name}: the exported file decides otherwise than the {parity.compared_with} for {found.decisions} "
            f"of {found.images} images (largest difference of a score: {found.scores:.2g} of their range), so it is "
            "not kept. Fit the model again with the installed versions, or keep it all the same: --allow-different."
        )


def _put(files: list[Path], folder: Path, card: ModelCard, target: Format, parity: Parity | None) -> list[Path]:
    """Bring the files into the folder: what is no longer true goes first, their own proof comes last."""
    there = bundle.read_card(folder) if (folder / CARD).exists() else None
    proof = folder / _PROOF[target]
    proof.unlink(missing_ok=True)
    if there is not None and not same_fit(there, card):
        for name in _OF_ONE_FIT:
            (folder / name).unlink(missing_ok=True)
    placed = []
    for file in files:
        sync(file)
        file.chmod(0o644)
        placed.append(file.replace(folder / file.name))
    if there is None or (there != public(card) and not (folder / bundle.WEIGHTS).exists()):
        bundle.write_card(folder, public(card))
        placed.append(folder / CARD)
    if parity is not None:
        with write_aside(proof) as aside:
            aside.write_text(parity.model_dump_json(indent=1), encoding="utf-8")
        placed.append(proof)
    sync(folder)
    return placed

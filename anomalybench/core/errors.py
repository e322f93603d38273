"""Expected errors: what is wrong, where, and what to do about it. They are shown without a traceback."""

import difflib
import unicodedata
from collections.abc import Iterable


class AnomalyBenchError(Exception):
    """Something the user can mend; its text says how."""

    exit_code = 2


class UsageError(AnomalyBenchError):
    """A name, parameter, suite or option that does not exist or does not fit."""


class DataError(AnomalyBenchError):
    """Images, masks or tables that are missing, broken or contradictory."""


class WeightsError(AnomalyBenchError):
    """Pretrained weights that cannot be found or do not fit."""


class StoreError(AnomalyBenchError):
    """A results folder that cannot be read or written."""


class ClusterError(AnomalyBenchError):
    """Machines that were lost in the middle of a run: what is done is kept."""

    exit_code = 1


def printable(text: object) -> str:
    r"""Any text, such as a file's name, with everything that could trick a terminal or cannot be encoded made visible.

    Control characters (escape, newline), marks that change the direction of writing, other invisible characters and
    bytes that are not UTF-8 become escapes as in `\x1b`.
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(_escape(c) if unicodedata.category(c) in hidden else c for c in str(text))


def _escape(character: str) -> str:
    code = ord(character)
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # a surrogate stands for a byte that is not UTF-8
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Error for a name that does not exist, offering the nearest one, or all of a short list."""
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(options) or 'none'}."
    return UsageError(f"unknown {kind} '{name}'. {hint}")

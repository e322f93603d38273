"""Expected errors: what is wrong, where, and what to do about it. They are shown without a traceback."""

import difflib
import reprlib
import sys
import traceback
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

_BENCH = "anomalybench.bench"


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


def described(error: BaseException) -> str:
    """An error in words: one of ours by its text alone; another with its kind and with the line of the plugin.

    The line is the innermost one of the package that `anomalybench.bench` has called, as in
    `ZeroDivisionError: division by zero (mymethod.py, line 12)`; there is none where bench itself raised the error.
    """
    if isinstance(error, AnomalyBenchError):
        return str(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [
        (str(frame.f_globals.get("__name__")), PurePath(frame.f_code.co_filename).name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    inner = max((i + 1 for i, (module, _, _) in enumerate(frames) if f"{module}.".startswith(f"{_BENCH}.")), default=0)
    called = frames[inner:]
    package = called[0][0].partition(".")[0] if called else ""
    own = [f" ({file}, line {line})" for module, file, line in called if module.partition(".")[0] == package]
    return text + (own[-1] if own else "")


class _Short(reprlib.Repr):
    """Never builds the text of a whole value, unlike `repr(value)[:n]`."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        """Numbers that Python refuses to write out are named by their size."""
        limit = sys.get_int_max_str_digits() or 4300
        return super().repr_int(x, level) if x.bit_length() < 3 * limit else f"a number of {x.bit_length()} bits"

    def repr_bytes(self, x: bytes, level: int) -> str:
        """The start of long bytes."""
        return repr(x) if len(x) <= self.maxother else f"{x[: self.maxother]!r}..."


_SHORT = _Short()


def shortened(value: object, length: int = 80) -> str:
    """A value as Python writes it, for an error: at most `length` characters, however large or nested it is."""
    text = _SHORT.repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."

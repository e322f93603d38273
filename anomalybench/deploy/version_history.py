"""Which version of a promoted model is current, and which ones were: `current.json`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anomalybench.core.errors import StoreError, shortened

_MOST = 10_000_000
"""Bytes of a history; a longer file is none."""
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_Version = Annotated[int, Field(ge=1, lt=10**9)]


class Step(BaseModel):
    """A version that became the current one.

    Attributes:
        version: Its number.
        date: When, in UTC.
        by: What made it current.
    """

    model_config = _FROZEN

    version: _Version
    date: str
    by: Literal["promote", "rollback"]


class History(BaseModel):
    """Which version is current, and which ones were.

    Attributes:
        schema_version: Layout of the file.
        current: Number of the current version.
        history: All steps, the latest last.
    """

    model_config = _FROZEN

    schema_version: Literal[1] = 1
    current: _Version
    history: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.history[-1].version != self.current:
            raise ValueError("its last step is not to the current version")
        return self

    def earlier(self) -> list[int]:
        """Versions that rollbacks in a row would return to, the next one last."""
        way: list[int] = []
        for step in self.history:
            if step.by == "rollback" and step.version in way:
                del way[way.index(step.version) :]
            way.append(step.version)
        return way[:-1]


def read_history(file: Path) -> History | None:
    """The history that a file holds; None where there is no file.

    Raises:
        StoreError: It is damaged, cannot be read, or a newer version wrote it.
    """
    try:
        return History.model_validate_json(file.read_bytes() if file.stat().st_size <= _MOST else b"")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror}).") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        what = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise StoreError(f"{file}: is damaged, or a newer anomalybench wrote it ({shortened(what, 120)}).") from None

"""A job is everything that determines a fit, as frozen data.

Its id is a hash of what was *chosen*: a new field or parameter, or one that is at its default, moves no id. So results
stay where they are when the program grows; see `record.Record.holds` for what happens when a default changes.
"""

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from anomalybench.core import parameters

EXTERNAL = "external:"
"""What the name of a tool that is none of our methods begins with."""


class Choice(BaseModel):
    """A plugin or threshold rule by name, with its parameters.

    Attributes:
        name: Its name.
        params: Every parameter, defaults included.
        chosen: Names of those that differ from their defaults, sorted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    params: dict[str, Any] = {}
    chosen: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, built: Any) -> "Choice":
        """The choice that a built plugin (a dataclass) stands for."""
        params, defaults = parameters.values_of(built), parameters.defaults(type(built))
        chosen = sorted(k for k, value in params.items() if k not in defaults or value != defaults[k])
        return cls(name=name, params=params, chosen=tuple(chosen))

    @property
    def identity(self) -> list[Any]:
        """Its name and what was chosen."""
        return [self.name, {name: self.params[name] for name in self.chosen}]

    def agrees(self, other: "Choice") -> bool:
        """Whether both have the same name, and the same values of the parameters that both know."""
        shared = self.params.keys() & other.params.keys()
        return self.name == other.name and all(self.params[name] == other.params[name] for name in shared)


class Job(BaseModel):
    """One fit.

    Attributes:
        method: Method and parameters.
        version: The method's `version`.
        dataset: Dataset and options.
        category: Category of the dataset.
        protocol: Protocol and parameters.
        fold: Which of the protocol's splits; empty where it makes only one.
        seed: Seed of the split and of the fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Choice
    version: Annotated[int, Field(ge=0, le=2**31)]
    dataset: Choice
    category: str
    protocol: Choice
    fold: str = ""
    seed: Annotated[int, Field(ge=0, le=2**63)] = 0

    @property
    def id(self) -> str:
        """Hash of what was chosen (JSON, keys sorted, no spaces): 16 hexadecimal digits."""
        choices = {name: getattr(self, name).identity for name in ("method", "dataset", "protocol")}
        plain = {"version": self.version, "category": self.category}
        moved = {
            name: value
            for name, field in type(self).model_fields.items()
            if not field.is_required() and (value := getattr(self, name)) != field.default
        }
        text = json.dumps(choices | plain | moved, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def images(self) -> str:
        """What says which images are tested: jobs that agree in it can be compared."""
        return json.dumps([self.dataset.identity, self.category, self.protocol.identity, self.fold, self.seed])

    def __str__(self) -> str:
        parts = [self.method.name, f"{self.dataset.name}/{self.category}", self.protocol.name]
        return " ".join(parts + [f"fold {self.fold}"] * bool(self.fold) + [f"seed {self.seed}"])

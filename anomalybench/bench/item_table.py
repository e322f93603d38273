"""The items of one category with the hashes of their files: read once per run, whatever asks for them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from anomalybench.core import parameters, registry
from anomalybench.core.dataset import Dataset, Item, contents, fingerprint
from anomalybench.core.job import Choice, Job
from anomalybench.core.protocol import Protocol, Split
from anomalybench.vision.file_checks import check_files, unreadable


@dataclass(frozen=True)
class ItemTable:
    """One category.

    Attributes:
        root: What the items' paths are relative to.
        items: Its items.
        hashes: Hash of the contents of every image and mask, by path.
        skipped: Files that cannot be read and were left out, with the reason.
    """

    root: Path
    items: list[Item]
    hashes: dict[str, str]
    skipped: dict[str, str]

    @cached_property
    def fingerprint(self) -> str:
        """See `dataset.fingerprint`."""
        return fingerprint(self.items, self.hashes)

    def split(self, job: Job) -> Split:
        """The items' parts under the job's protocol."""
        return build_protocol(job.protocol).split(self.items, job.seed, job.fold)


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        data: Folder of the data.
        skip_unreadable: Leave out files that cannot be read, instead of failing.
    """

    data: Path | None = None
    skip_unreadable: bool = False


class ItemTables:
    """Item tables by dataset and category, each read when it is first asked for.

    Args:
        source: Where the images come from.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._read: dict[tuple[str, str], ItemTable] = {}

    def get(self, dataset: Choice, category: str) -> ItemTable:
        """Items of one category, the headers of their files checked.

        Raises:
            DataError: The data are missing or broken.
        """
        key = dataset.model_dump_json(), category
        if key not in self._read:
            self._read[key] = _read(dataset, category, self.source)
        return self._read[key]

    def known(self, dataset: Choice, category: str) -> ItemTable | None:
        """The items of one category if they have been read."""
        return self._read.get((dataset.model_dump_json(), category))


def build_dataset(choice: Choice) -> Dataset:
    """The plugin with its options, checked."""
    return parameters.build(registry.dataset(choice.name), choice.name, choice.params)


def build_protocol(choice: Choice) -> Protocol:
    """The plugin with its parameters, checked."""
    return parameters.build(registry.protocol(choice.name), choice.name, choice.params)


def _read(dataset: Choice, category: str, source: Source) -> ItemTable:
    plugin = build_dataset(dataset)
    root = plugin.root(source.data)
    items = plugin.load(root, category)
    skipped: dict[str, str] = {}
    if source.skip_unreadable and (skipped := unreadable(root, items, decode=True)):
        items = plugin.load(root, category, without=skipped)
    check_files(root, items, dataset.name)
    return ItemTable(root, items, contents(root, items), skipped)

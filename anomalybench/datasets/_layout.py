"""Which dataset plugin reads a folder, and with which options: a reading is tried before it is used or offered."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from anomalybench.core import parameters, registry
from anomalybench.core.errors import AnomalyBenchError, DataError, printable
from anomalybench.datasets._files import folders, image_files, images_below

NORMAL_NAMES = ("good", "normal", "ok")
_NORMAL_WORDS = {
    *NORMAL_NAMES,
    "pass",
    "passed",
    "fine",
    "clean",
    "intact",
    "perfect",
    "healthy",
    "defectfree",
    "nondefective",
}
_NEGATIONS = {"not", "no", "non", "un"}
_OFFERED, _NAMED = 3, 8
_HELP = (
    "Put images without defects into {}/good and each kind of defect into a folder of its own, or list all images in a "
    "manifest (a CSV file with the columns path and label: --set folder.manifest=FILE.csv), or name your folder of "
    "normal images: --set folder.normal=NAME."
)


@dataclass(frozen=True)
class Layout:
    """One way to read a folder.

    Attributes:
        dataset: Name of the plugin.
        data: The folder to pass as `--data`: not the one asked about where that is a single category of it.
        understood: What the folder is taken for, in words for the user.
        params: The plugin's options.
        categories: The categories that are meant; all if empty.
        sure: Whether the names alone say which images are normal, so that nobody needs to be asked.
    """

    dataset: str
    data: Path
    understood: str
    params: Mapping[str, str] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    sure: bool = True

    @property
    def options(self) -> str:
        """Options of `anomalybench run` that read the folder in this way."""
        words = ["--dataset", self.dataset, "--data", str(self.data)]
        words += ["--categories", ",".join(self.categories)] if self.categories else []
        for name, value in self.params.items():
            text = value if yaml.safe_load(value) == value else json.dumps(value)  # "no" and "1" are no texts in YAML
            words += ["--set", f"{self.dataset}.{name}={text}"]
        return printable(shlex.join(words))


def recognise(data: Path) -> Layout:
    """The one way to read a folder that is beyond doubt.

    Raises:
        DataError: There is none; the error says what was seen, and the options that work.
    """
    if data.is_file():
        listed = data.suffix.lower() == ".csv"
        works = f"A list of images works as\n  --data {_quoted(data.parent)} --set folder.manifest={_quoted(data.name)}"
        cure = works if listed else "Name the folder that holds your images."
        raise DataError(f"--data {printable(data)} is a file, not a folder. {cure}")
    if not data.is_dir():
        raise DataError(f"--data {printable(data)} does not exist.")
    first = next(_working(data), None)
    if first is None or not first.sure:
        raise DataError(
            f"--data {printable(data)}: cannot tell which images are normal ({seen(data)}).\n{advice(data)}"
        )
    return first


def advice(data: Path) -> str:
    """What the user can do: options that work for this folder, else how to arrange the images."""
    return what_works(data) or _HELP.format(printable(data))


def what_works(data: Path) -> str:
    """Options that read the folder, the likeliest first; empty where there are none."""
    layouts = [layout for layout, _ in zip(_working(data), range(_OFFERED), strict=False)]
    lines = [f"  anomalybench run {layout.options}    ({layout.understood})" for layout in layouts]
    return "\n".join(["This works:" if len(lines) == 1 else "Each of these works:", *lines]) if lines else ""


def seen(data: Path) -> str:
    """What lies in a folder, in words."""
    loose = len(image_files(data))
    counts = _counts(data)
    parts = [f"the {'folder' if len(counts) == 1 else 'folders'} {_listed(counts)}"] if counts else []
    parts += [f"{loose} images that lie in no sub-folder"] if loose else []
    return "found " + (" and ".join(parts) or "neither images nor folders")


def _quoted(path: Path | str) -> str:
    return printable(shlex.quote(str(path)))


def _working(data: Path) -> Iterator[Layout]:
    return (layout for layout in _readings(data) if _works(layout))


def _works(layout: Layout) -> bool:
    """Whether the items of a category can be listed."""
    try:
        plugin = parameters.build(registry.dataset(layout.dataset), layout.dataset, layout.params)
        root = plugin.root(layout.data)
        return any(plugin.load(root, category) for category in layout.categories or plugin.categories(root)[:1])
    except AnomalyBenchError:
        return False


def _readings(data: Path) -> Iterator[Layout]:
    """Ways to read a folder that its names suggest, the likeliest first."""
    products = list(_products(data))
    yield from (*products, *_manifests(data), *_classes(data))
    for inner in [] if products else folders(data):
        for layout in (*_products(inner), *_classes(inner, guess=False)):
            yield replace(layout, sure=False)  # there may be more of them, and images beside them


def _products(data: Path) -> Iterator[Layout]:
    """MVTec AD's layout: a folder of categories, or one of them."""
    names = [d.name for d in folders(data) if _has_parts(d)]
    one = _has_parts(data)
    if not names and not one:
        return
    classes = _counts(data / "train" if one else data / names[0] / "train")
    normal = _named_normal(classes)
    exact = "good" in (name.lower() for name in classes)
    params = {} if exact or not normal else {"normal": ",".join(normal)}
    if one:
        base = data.resolve()
        text = f"one category with train and test folders, {base.name}"
        yield Layout("mvtec_ad", base.parent, text, params, (base.name,), sure=exact)
    else:
        noun = "category" if len(names) == 1 else "categories"
        text = f"folders with train and test in them: the {noun} {_shortened(names)}"
        yield Layout("mvtec_ad", data, text, params, sure=exact)


def _manifests(data: Path) -> Iterator[Layout]:
    files = sorted(file for file in data.glob("*.csv") if file.is_file())
    for file in files:
        text = f"the images that the manifest {file.name} lists"
        yield Layout("folder", data, text, {"manifest": file.name}, sure=len(files) == 1)


def _classes(data: Path, *, guess: bool = True) -> Iterator[Layout]:
    """A folder per class; with `guess`, the largest one is offered as normal where no name says so."""
    classes = {} if _has_parts(data) else {name: n for name, n in _counts(data).items() if n}
    text = f"a folder with the {'class' if len(classes) == 1 else 'classes'} {_listed(classes)}"
    if any(name.lower() in NORMAL_NAMES for name in classes):
        yield Layout("folder", data, text)
    elif normal := _named_normal(classes):
        yield Layout(
            "folder", data, f"{text}; {' and '.join(normal)} without defects", {"normal": ",".join(normal)}, sure=False
        )
    elif guess and len(classes) > 1 and not any(map(_has_classes, folders(data))):
        most = max(classes, key=lambda name: classes[name])
        yield Layout("folder", data, f"{text}; if {most} is the one without defects", {"normal": most}, sure=False)


def _has_parts(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _has_classes(folder: Path) -> bool:
    return _has_parts(folder) or bool(_named_normal(d.name for d in folders(folder)))


def _named_normal(names: "Iterator[str] | Mapping[str, int]") -> list[str]:
    """Names that say "without defects", as `ok_front` does and `not_ok` does not."""
    words = {name: set(re.split(r"[^a-z0-9]+", name.lower())) for name in names}
    return [name for name, found in words.items() if found & _NORMAL_WORDS and not found & _NEGATIONS]


def _counts(data: Path) -> dict[str, int]:
    """Images below each folder."""
    return {d.name: len(images_below(d)) for d in folders(data)}


def _listed(classes: Mapping[str, int]) -> str:
    return _shortened([f"{name} ({n})" for name, n in classes.items()])


def _shortened(texts: Sequence[str]) -> str:
    shown = [printable(text) for text in texts[:_NAMED]]
    if len(texts) > _NAMED:
        return f"{', '.join(shown)} and {len(texts) - _NAMED} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))

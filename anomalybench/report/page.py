"""The report page: one HTML file that holds everything, asks the network for nothing and opens from a disk.

Names from records are text, never markup: they reach the page as JSON, and its script puts them there as text nodes. A
content security policy that knows the script and the style by their hashes holds back whatever slipped through.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from anomalybench.bench.store import Store, safe_name
from anomalybench.core.files import write_text
from anomalybench.core.record import Result
from anomalybench.report import page_data
from anomalybench.report.leaderboard import Tables

SECTIONS = ("leaderboard", "cost", "categories", "defects", "unfinished", "job", "gallery")
"""Sections in their order: each is the two templates NAME.html and NAME.js. What they show comes from `page_data`."""
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}


def write(
    title: str, results: Iterable[Result], store: Store, file: Path, max_images: int | None = None,
    notices: Iterable[str] = (), folder: Path | None = None, tables: Tables | None = None,
) -> None:  # fmt: skip
    """Write the page of some jobs.

    Args:
        title: What it is called.
        results: What the jobs left, also the failed and the skipped ones.
        store: Where their scores, maps and resamples lie.
        file: The HTML file.
        max_images: Most images per category with a large view; by default an even share of 80.
        notices: Remarks to begin with.
        folder: The data folder, as the reader names it: images come only from there. Without, only those of jobs of
            this machine are shown.
        tables: The tables of these results, if they have been built.

    Raises:
        StoreError: The file cannot be written.
    """
    data = page_data.gather(results, store, max_images, folder, tables)
    data["notices"] = [*notices, *data["notices"]]
    write_text(file, render(title, json.dumps(data, allow_nan=False)), "--out FILE")


def place(store: Store, name: str) -> Path:
    """Where the page of that name lies unless told otherwise."""
    return store.results / "reports" / f"{safe_name(name)}.html"


def render(title: str, data: str) -> str:
    """The page as text.

    Args:
        title: What it is called.
        data: JSON from `page_data.gather`.
    """
    environment = Environment(
        loader=PackageLoader("anomalybench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sources = environment.loader
    assert sources is not None
    parts = [
        sources.get_source(environment, f"{name}.js")[0] for name in ("dom", "charts", *SECTIONS, "viewer", "main")
    ]
    script = "\n".join(['"use strict";', *parts])
    style = sources.get_source(environment, "page.css")[0]
    return environment.get_template("page.html.j2").render(
        title=title,
        sections=SECTIONS,
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=Markup(data.translate(_ESCAPES)),
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

"""YAML from strangers: only plain values, of bounded size, so that a small file cannot ask for much memory or time."""

import yaml

from anomalybench.core.errors import UsageError, shortened

MAX_CHARACTERS = 100_000
MAX_DEPTH = 20
_MAX_NUMBER = 2_000
"""Characters of a value without quotes: beyond, it might be a number that Python takes minutes to read or write."""


def read_yaml(text: str, where: str) -> object:
    """The value that a YAML text stands for: None, numbers, text and dates, in lists and mappings.

    Its structure is checked before anything is built. In pure Python, 100,000 characters take up to 0.9 s.

    Args:
        text: The text.
        where: What errors call it, as `suite.yaml` or `--set cam.epochs=5`.

    Raises:
        UsageError: Not YAML, too large or too deep, or with aliases or tags.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{where}: {len(text):,} characters of YAML; {MAX_CHARACTERS:,} are the most.")
    try:
        _check(text, where)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: a date that does not exist
        reason = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        raise UsageError(f"{where}: not plain YAML: {reason[:300]}") from None


def _check(text: str, where: str) -> None:
    """Refuse what plain settings do not need; nothing of it is built here."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        reason = None
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                reason = f"more than {MAX_DEPTH} lists or mappings inside each other."
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            reason = f"aliases ({shortened(f'*{event.anchor}')}) are not read. Write the value out."
        elif isinstance(event, yaml.ScalarEvent) and event.style is None and len(event.value) > _MAX_NUMBER:
            reason = f"a value of {len(event.value):,} characters. Write a long text in quotes."
        if getattr(event, "tag", None) is not None:
            reason = "tags, as in !!str, are not read. Write the value plainly."
        if reason is not None:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise UsageError(f"{where}, line {line}: {reason}")

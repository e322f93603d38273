"""Finding image files."""

from pathlib import Path

from PIL import Image


def image_files(folder: Path) -> list[Path]:
    """Files in `folder` whose ending Pillow can read, sorted; hidden files are left out; none if it does not exist."""
    if not folder.is_dir():
        return []
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = (f for f in folder.iterdir() if f.suffix.lower() in endings and not f.name.startswith("."))
    return sorted(f for f in found if f.is_file())

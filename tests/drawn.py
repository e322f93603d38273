"""Images of a single colour, drawn in a moment."""

import numpy as np
from PIL import Image


def draw(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(file)

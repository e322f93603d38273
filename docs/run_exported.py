"""Run an exported model on 8-bit images, with onnxruntime, numpy and pillow: run_exported.py model.onnx IMAGE..."""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, *paths = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
threshold = float(session.get_modelmeta().custom_metadata_map["threshold"])
for path in paths:
    image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    score = float(session.run(["score"], {"image": image[None]})[0][0])
    print(path, score, "anomalous" if score > threshold else "normal")

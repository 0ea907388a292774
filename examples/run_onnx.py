"""Classify image files with a deployed network: onnxruntime, NumPy and Pillow alone, without torch.

python run_onnx.py deployed/digits image.png ...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

folder = Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
channels, height, width = config["pretrained_cfg"]["input_size"]
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
for path in sys.argv[2:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB" if channels == 3 else "L")
    scale = min(image.width / width, image.height / height) * config["pretrained_cfg"]["crop_pct"]
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image, np.float32).reshape(1, height, width, channels).transpose(0, 3, 1, 2) / 255
    (logits,) = session.run(["logits"], {"images": pixels})
    print(path, config["label_names"][int(logits.argmax())])

"""What a user does first, on an installed wheel and away from the checkout."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import zoo
from zoo.testing import check_encoder

home = Path(zoo.__file__).resolve()
if "site-packages" not in home.parts:
    sys.exit(f"zoo is imported from {home}, not from an installed wheel")

images = [np.zeros((c, 64, 64), dtype=np.uint16) for c in (1, 6, 3)]
features = zoo.load("chadavit-untrained").encode(images)
if features.embedding.shape != (3, 192):
    sys.exit(f"three images gave an embedding of {tuple(features.embedding.shape)}")
check_encoder("pixel-statistics-mean")

zoo_command = Path(sys.executable).with_name("zoo")
for arguments in (["--version"], ["list"], ["info", "chadavit-idrcell100k"], ["plugins"]):
    subprocess.run([zoo_command, *arguments], check=True, stdout=subprocess.DEVNULL)
with tempfile.TemporaryDirectory() as folder:
    report = Path(folder, "report")
    arguments = ["evaluate", "object-density", "-d", "phantom", "-c", "constant", "--no-cache"]
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([zoo_command, *arguments, "-o", report], **quiet)
    if "<svg" not in (report / "index.html").read_text():
        sys.exit("the report has no figure")
print("the installed wheel works")

"""Builds the shipped bundle: the trunk, the golden expectations and the manifest with every digest.

    /usr/bin/python3 scripts/model/build.py            writes models/swellsight-factory/1.0.0
    /usr/bin/python3 scripts/model/build.py --check    compares only; exit code 1 for a difference

Needs Debian's python3-onnx and python3-torch, and npm for the download (32 MB, once, kept in --cache).
The golden images, the model card and the licence are written by hand; the script writes all other files.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True

import png
from export import SIZE_PX, trunk_onnx
from fetch import published_model
from reference import Reference

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "models" / "swellsight-factory" / "1.0.0"
BY_HAND = ["LICENSE", "MODEL_CARD.md", "NOTICE"]
# Above the error of half precision, below that of every real fault: see the numbers in MODEL_CARD.md.
GOLDEN_TOLERANCE = 0.02


def manifest(golden: "list[dict]", files: "dict[str, bytes]") -> dict:
    return {
        "format": 1,
        "name": "swellsight-factory",
        "version": "1.0.0",
        "description": (
            "Frozen MobileNetV2 trunk: one embedding a frame, from which the agent learns metres per camera "
            "out of people's own readings. It knows no height, direction or breaking type by itself."
        ),
        "license": "Apache-2.0",
        "stages": [
            {
                "id": "trunk",
                "file": "trunk.onnx",
                "inputs": [
                    {
                        "name": "image",
                        "from": "frame",
                        "layout": "NHWC",
                        "dtype": "uint8",
                        "width": SIZE_PX,
                        "height": SIZE_PX,
                        "color": "rgb",
                        "fit": "stretch",
                    }
                ],
                "outputs": ["embedding"],
            }
        ],
        "heads": {"embedding": {"output": "trunk.embedding"}},
        "golden": golden,
        "files": {name: "sha256:" + hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "requires": {"agent": ">=0.1.0", "memory_mb": 256},
    }


def expectations(reference: Reference, pictures: "dict[str, bytes]") -> "list[dict]":
    """What the reference says of each golden picture, not what the exported model says."""
    golden = []
    for name, data in sorted(pictures.items()):
        embedding = reference.embedding(png.read(data))
        values = [round(float(value), 4) for value in embedding]
        golden.append({"image": name, "expect": {"trunk.embedding": values}, "tolerance": GOLDEN_TOLERANCE})
    return golden


def as_text(value: dict) -> str:
    """JSON with every list of numbers on one line."""
    text = json.dumps(value, indent=2)
    return re.sub(r"\[[-\d.,\s]+\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


def differences(built: dict, trunk: bytes) -> "list[str]":
    kept = json.loads((BUNDLE / "model.json").read_text())
    faults = [] if (BUNDLE / "trunk.onnx").read_bytes() == trunk else ["trunk.onnx: other bytes"]
    for one, other in zip(kept["golden"], built["golden"]):
        off = np.subtract(one["expect"]["trunk.embedding"], other["expect"]["trunk.embedding"])
        # Processors may round the fourth decimal differently.
        if np.abs(off).max() > 2e-4:
            faults.append(f"{one['image']}: off by {np.abs(off).max()}")
        other["expect"] = one["expect"]
    return faults + ([] if kept == built else ["model.json: other content"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "model")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    published = published_model(arguments.cache)
    trunk = trunk_onnx(published)
    pictures = {f"golden/{p.name}": p.read_bytes() for p in (BUNDLE / "golden").iterdir()}
    files = {name: (BUNDLE / name).read_bytes() for name in BY_HAND} | pictures | {"trunk.onnx": trunk}
    built = manifest(expectations(Reference(published), pictures), files)
    if arguments.check:
        faults = differences(built, trunk)
        print("\n".join(faults) or "the bundle is up to date")
        sys.exit(1 if faults else 0)
    (BUNDLE / "trunk.onnx").write_bytes(trunk)
    (BUNDLE / "model.json").write_text(as_text(built))
    print(f"{BUNDLE}: trunk.onnx {len(trunk)} bytes, {len(pictures)} golden images")


if __name__ == "__main__":
    main()

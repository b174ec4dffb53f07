"""Downloads the published network and checks its digest."""

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@mediapipe/objectron@0.4.1675468480"
ASSETS = "objectron_solution_packed_assets.data"
ASSETS_SHA256 = "470986ca5df183f41698da6de74b027d838fe289d77b5ab094497d350bee664e"
# The class labels precede the model.
MODEL_START, MODEL_END = 184, 9_987_912


def published_model(cache: Path) -> bytes:
    """Returns the SSD MobileNetV2 TFLite file of the npm package; keeps the download in `cache`."""
    kept = cache / ASSETS
    if not kept.exists() or _sha256(kept.read_bytes()) != ASSETS_SHA256:
        _download(kept)
    assets = kept.read_bytes()
    if _sha256(assets) != ASSETS_SHA256:
        raise SystemExit(f"{kept}: sha256 {_sha256(assets)}, expected {ASSETS_SHA256}")
    return assets[MODEL_START:MODEL_END]


def _download(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = ["npm", "pack", PACKAGE, "--loglevel", "error", "--pack-destination", folder]
        if subprocess.run(command, timeout=300, stdout=subprocess.DEVNULL).returncode != 0:
            raise SystemExit(f"npm pack {PACKAGE} failed: is the registry reachable?")
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            part = Path(folder) / ASSETS
            part.write_bytes(packed.extractfile(f"package/{ASSETS}").read())
        part.rename(target)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

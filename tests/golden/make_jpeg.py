"""Made tests/golden/jpeg.npz with Pillow (libjpeg-turbo): `python tests/golden/make_jpeg.py`.

Small pictures of noise and ramps, before and after a JPEG file: a clone without other reference data tests equality
with libjpeg-turbo even where Pillow is built with another library.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, features


def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2026)
    y, x = np.mgrid[0:37, 0:53]
    ramps = np.stack([4 * x + y, 6 * y + 20 * (x // 9 % 2), 255 - 3 * x - 2 * y], axis=2).clip(0, 255)
    return {
        "ramps37x53": (ramps + rng.normal(0, 6, ramps.shape)).clip(0, 255).astype(np.uint8),
        "noise19x5": rng.integers(0, 256, (19, 5, 3), np.uint8),
        "binary9x24": (rng.integers(0, 2, (9, 24, 3)) * 255).astype(np.uint8),
        "pixel1x1": np.array([[[200, 30, 90]]], np.uint8),
    }


def main() -> None:
    arrays = {}
    for name, picture in pictures().items():
        arrays[f"in__{name}"] = picture
        for subsampling in ("444", "422", "420"):
            for quality in (5, 50, 92):
                file = io.BytesIO()
                Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=f"{':'.join(subsampling)}")
                decoded = np.asarray(Image.open(io.BytesIO(file.getvalue())))
                arrays[f"out__{name}__{subsampling}__q{quality}"] = decoded
    np.savez_compressed(Path(__file__).with_name("jpeg.npz"), **arrays)
    print(f"Pillow with libjpeg-turbo {features.version('libjpeg_turbo')}")


if __name__ == "__main__":
    main()

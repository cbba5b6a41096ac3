"""What people run today to make pairs on disk, as a script: photographs -> crops -> torch eager pipeline -> PNG files.

`python -m benchmarks.eager_script --tasks N --out DIR` writes the images that `degrade sample --tasks N` writes: hr/,
target/ (sharpened) and lr/, one PNG each, from the photographs that ship with scikit-image. Kernels and random parameters
come ready from pydegrade, which spares the script the slow part of drawing them in Python; files are written by OpenCV,
the fastest encoder at hand, on parallel threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import cv2
import numpy as np
import torch

from . import eager, inputs

BATCH = 12


@click.command()
@click.option("--tasks", "count", type=click.IntRange(1), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--hr-size", "side_px", default=192, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(count: int, out: Path, side_px: int, threads: int) -> None:
    """Write `count` pairs."""
    inputs.settle_threads(threads)
    for kind in ("hr", "target", "lr"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    kernel = eager.usm_kernel()
    number_of_batches = -(-count // BATCH)
    batches = inputs.eager_batches("realesrgan-x4", number_of_batches, BATCH)

    def write(kind: str, index: int, image: torch.Tensor) -> None:
        levels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        cv2.imwrite(str(out / kind / f"{index:06d}.png"), np.ascontiguousarray(levels[..., ::-1]))

    with ThreadPoolExecutor(threads) as pool:
        for number, batch in enumerate(batches):
            hr = inputs.photographs(BATCH, side_px)
            target = eager.usm_sharpen(hr, kernel)
            # The sharpened image is what is degraded; it is made once for both.
            lr = eager.realesrgan_chain(target, batch, None)
            for row in range(min(BATCH, count - number * BATCH)):
                for kind, image in (("hr", hr), ("target", target), ("lr", lr)):
                    pool.submit(write, kind, number * BATCH + row, image[row])


if __name__ == "__main__":
    main()

"""`python -m benchmarks.which_bicubic SHARED`: which bicubic is which, on Set5 against files that MATLAB made.

SHARED is the folder with golden/set5 (HR images and MATLAB's imresize of them at 1/2 and 1/4).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .bicubic_peers import PEERS, Peer, Pixels

NAMES = ("baby", "bird", "butterfly", "head", "woman")


@dataclass(frozen=True)
class Distance:
    """How far results are from MATLAB's, over all samples of all images together."""

    equal: float  # share of samples, %
    psnr_db: float
    worst: int  # largest difference, levels


def read_pairs(shared: Path, n: int, names: Sequence[str] = NAMES) -> list[tuple[Pixels, Pixels]]:
    """(HR cut to multiples of n, MATLAB's imresize of it at 1/n)."""
    pairs = []
    for name in names:
        hr = np.array(Image.open(shared / "golden/set5/HR" / f"{name}.png"))
        lr = np.asarray(Image.open(shared / f"golden/set5/LR_bicubic/X{n}/{name}x{n}.png"))
        pairs.append((hr[: hr.shape[0] // n * n, : hr.shape[1] // n * n], lr))
    return pairs


def distance(peer: Peer, pairs: Sequence[tuple[Pixels, Pixels]], n: int) -> Distance:
    """One library against MATLAB."""
    differences = [peer(hr, 1 / n).astype(np.int64) - lr for hr, lr in pairs]
    errors = np.concatenate([values.ravel() for values in differences])
    square = float(np.mean(errors**2))
    psnr_db = 10 * math.log10(255**2 / square) if square else math.inf
    return Distance(100 * float(np.mean(errors == 0)), psnr_db, int(np.abs(errors).max()))


def table(shared: Path, scales: Sequence[int] = (2, 4), names: Sequence[str] = NAMES) -> str:
    """Markdown: one row per library."""
    heads = [f"x1/{n}: % equal | PSNR, dB | largest difference" for n in scales]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + 3 * len(scales)) + "|"]
    for label, peer in PEERS.items():
        cells = []
        for n in scales:
            found = distance(peer, read_pairs(shared, n, names), n)
            cells += [f"{found.equal:.2f}", f"{found.psnr_db:.2f}", str(found.worst)]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "golden/set5").is_dir():
        sys.exit("usage: python -m benchmarks.which_bicubic SHARED, the folder with golden/set5")
    sys.stdout.write(table(Path(sys.argv[1])))

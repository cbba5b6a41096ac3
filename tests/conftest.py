"""Shared fixtures: where the reference outputs of other programs lie, and photographs that are always there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path | None:
    """Folder with golden/ and data/: $PYDEGRADE_SHARED, else `shared` beside the repository; None when absent."""
    for candidate in (os.environ.get("PYDEGRADE_SHARED"), ROOT.parent / "shared", ROOT.parent.parent / "shared"):
        if candidate and (Path(candidate) / "golden").is_dir():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    if folder is None:
        pytest.skip("reference outputs of other programs are not here (set PYDEGRADE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def photographs() -> list[torch.Tensor]:
    """float32 [3, H, W] crops of photographs inside scikit-image, sides multiples of 8, different sizes."""
    from skimage import data

    sizes = [(96, 128), (128, 96), (64, 64), (160, 104), (72, 200), (120, 120), (88, 96)]
    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    crops = []
    for index, (height, width) in enumerate(sizes):
        image = sources[index % len(sources)]
        top, left = 21 * index + 40, 40 * index + 20
        crop = image[top : top + height, left : left + width].astype(np.float32) / 255
        crops.append(torch.from_numpy(crop).permute(2, 0, 1).contiguous())
    return crops

"""What a file and its pixels tell of one photograph, without a network: the rows of `degrade estimate`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.paths import display_name
from ..files.read import MAX_PIXELS
from .photographs import read_photograph
from .statistics import NAMES, details

SIDE_PX = 256
SQUARES = 3


@dataclass(frozen=True)
class Estimate:
    """One photograph.

    Attributes:
        name: of the file.
        format: of the file.
        width, height: px, upright.
        jpeg_quality: libjpeg's, exact, where the file's tables are libjpeg's; else None.
        like_jpeg_quality: nearest to the tables of a JPEG file that are not libjpeg's; else None.
        subsampling: of a JPEG file; else "".
        camera, software: by EXIF; "" for none.
        pixels_jpeg_quality: of luma steps that the pixels are multiples of, in any file; None where they are of none, which
            also is so where the image was cut, enlarged or changed since, or above about 96.
        grid_phase: (x, y) of the strongest grid of 8 px where one stands out; else None.
        noise_8bit: standard deviation of the noise of a channel in quiet places, of 255. Texture counts as noise where
            nothing is quiet, and what JPEG or a smoothing took away is not seen.
        noise_correlation: of two channels there: near 0 for noise of a sensor, near 1 for gray noise.
        edge_sigma_px: standard deviation of the Gaussian that the steepest edges were blurred by, px of this image.
        resampled_period_px: px after which traces of an enlargement repeat; None where there are none.
        clipped: share of values that are black or white.
        notes: what was converted when it was decoded.
    """

    name: str
    format: str
    width: int
    height: int
    jpeg_quality: int | None
    like_jpeg_quality: int | None
    subsampling: str
    camera: str
    software: str
    pixels_jpeg_quality: int | None
    grid_phase: tuple[int, int] | None
    noise_8bit: float
    noise_correlation: float
    edge_sigma_px: float
    resampled_period_px: float | None
    clipped: float
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @property
    def line(self) -> str:
        """For people."""
        parts = [f"{self.width} x {self.height}", self._file()]
        if self.pixels_jpeg_quality is not None and self.format != "JPEG":
            parts.append(f"was JPEG {self.pixels_jpeg_quality}")
        if self.grid_phase not in (None, (0, 0)):
            parts.append("blocks at {},{}".format(*self.grid_phase or ()))
        parts.append(f"noise {self.noise_8bit:.1f}")
        if self.noise_8bit >= 1:
            parts.append(f"correlation {self.noise_correlation:.2f}")
        parts.append(f"edges {self.edge_sigma_px:.2f} px")
        if self.resampled_period_px is not None:
            parts.append(f"resampled, period {self.resampled_period_px:.2f} px")
        if self.clipped >= 0.01:
            parts.append(f"clipped {100 * self.clipped:.0f} %")
        if self.camera or self.software:
            parts.append(self.camera or self.software)
        return f"{self.name}: {'; '.join(parts)}"

    def _file(self) -> str:
        if self.format != "JPEG":
            return self.format
        if self.jpeg_quality is not None:
            return f"JPEG {self.jpeg_quality} {self.subsampling}"
        return f"JPEG like {self.like_jpeg_quality} (not a libjpeg table) {self.subsampling}"


def estimate_photograph(path: Path, max_pixels: int = MAX_PIXELS) -> Estimate:
    """Read and measure one photograph.

    Raises:
        ImageError: it cannot be read, or is smaller than 32 x 32 px.
    """
    photograph = read_photograph(path, SIDE_PX, SQUARES, max_pixels)
    facts = photograph.facts
    # The median over squares.
    values = dict(zip(NAMES, np.median(photograph.statistics, axis=0).astype(float).tolist()))
    found = [details(square) for square in photograph.squares]
    phases = [one.grid_phase for one in found]
    common = max(phases, key=phases.count)
    shown = max(values["grid_x"], values["grid_y"], values["grid_elsewhere"]) > 0.25 and phases.count(common) * 2 > len(
        phases
    )
    periods = [one.resampled_period_px for one in found]
    period = float(np.median(periods))
    quality = values["jpeg_quality"]
    jpeg = facts.jpeg
    return Estimate(
        display_name(path),
        facts.format,
        facts.width,
        facts.height,
        None if jpeg is None else jpeg.quality,
        None if jpeg is None or jpeg.quality is not None else jpeg.like_quality,
        "" if jpeg is None else jpeg.subsampling,
        facts.camera,
        facts.software,
        round(quality) if quality <= 100 else None,
        common if shown else None,
        round(max(0.0, float(np.mean([math.exp(values[f"noise_quiet_{plane}"]) - 0.05 for plane in "rgb"]))), 3),
        round(float(np.mean([values[f"noise_corr_{pair}"] for pair in ("rg", "gb", "rb")])), 3),
        round(edge_sigma_px(values["edge_1"]), 3),
        round(period, 3) if math.isfinite(period) else None,
        round(values["black"] + values["white"], 4),
        photograph.notes,
    )


def edge_sigma_px(profile: float) -> float:
    """Standard deviation of the Gaussian under which a step has this derivative one px beside the edge, over that on it.

    Central differences are the derivative under a box of 2 px, whose variance is 1/3:
    profile = exp(-1 / (2 (sigma^2 + 1/3))).
    """
    if profile <= 0.01:
        return 0.0
    return math.sqrt(max(0.0, -0.5 / math.log(min(profile, 0.999)) - 1 / 3))

"""The space that `degrade space new` writes, and its contact sheet."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from ...errors import SpaceError
from ...shell.options import DEFAULT_MEGAPIXELS
from ...shell.outputs import PICTURE_ENDINGS, encode_picture
from ...tasks.sampler import sample
from ...tasks.space import Space
from ..hr_options import BUNDLED_HR_SIZE_PX
from .preview import preview_sheet
from .sources import cropped_images

PREVIEW_TASKS = 4
LR_SIDE_PX = 64

# Ranges of the first stage of DASR's levels: Liang et al. 2022, arXiv:2203.14216, options of the release (train_DASR.yml).
BLUR_SIGMA_PX = {"weak": (0.2, 0.8), "standard": (0.2, 1.5), "severe": (0.2, 3.0)}
NOISE_8BIT = {"weak": (1.0, 10.0), "standard": (1.0, 20.0), "severe": (1.0, 30.0)}
POISSON_GAIN = {"weak": (0.05, 0.5), "standard": (0.05, 1.5), "severe": (0.05, 3.0)}
JPEG_QUALITY = {"weak": (90, 95), "standard": (50, 95), "severe": (30, 95)}


@dataclass(frozen=True)
class NewSpace:
    """Answers.

    Attributes:
        name: of the space.
        scale: HR pixels to a LR pixel, 1 to 8.
        stages: how often an image is degraded, 1 or 2.
        blur, noise, jpeg: "none" or a level of DASR.
    """

    name: str
    scale: int
    stages: int
    blur: str
    noise: str
    jpeg: str


def written(answers: NewSpace) -> tuple[Space, str]:
    """The space and its file.

    Raises:
        SpaceError: answers that leave nothing to do, or a name that no space can have.
    """
    parts = [_head(answers)]
    for stage in range(1, answers.stages + 1):
        parts += [_blur(answers, stage), _resize(answers, stage), _noise(answers, stage), _jpeg(answers, stage)]
    text = "".join(parts)
    if "[[slot]]" not in text:
        raise SpaceError("a space must do something: at scale 1 give blur, noise or JPEG")
    try:
        return Space.loads(text), text
    except SpaceError as error:  # of all answers, the name alone is free
        raise SpaceError(f"{error}; choose another --name") from None


def _head(answers: NewSpace) -> str:
    return f"""\
# A space of your own: what may happen to an image, in running order, each with the distribution of its parameters.
# `degrade check` shows what it does, `degrade preview --space` how that looks.
[space]
name = {json.dumps(answers.name, ensure_ascii=False)}
scale = {answers.scale}
source = "degrade space new: blur {answers.blur}, noise {answers.noise}, JPEG {answers.jpeg}; levels of DASR"
hr_px = {answers.scale * LR_SIDE_PX}  # side of the HR crops, a multiple of the scale
"""


def _blur(answers: NewSpace, stage: int) -> str:
    if answers.blur == "none":
        return ""
    low, high = BLUR_SIGMA_PX[answers.blur]
    return f"""
# Lens, motion, focus: Gaussians, round ("iso") or longer one way ("aniso"), in every direction.
[[slot]]
name = "blur{stage}"
op = "blur"
shape = {{ choice = ["iso", "aniso"], weights = [0.6, 0.4] }}
size_px = 21  # of the kernel, odd; 7 times the widest sigma
sigma_x_px = {{ uniform = [{low}, {high}] }}
sigma_y_px = {{ uniform = [{low}, {high}] }}
angle_rad = {{ uniform = [-3.141592653589793, 3.141592653589793] }}
"""


def _resize(answers: NewSpace, stage: int) -> str:
    if stage < answers.stages:
        return f"""
# Somebody made it smaller, or larger, before it was shared: up, down, or neither.
[[slot]]
name = "resize{stage}"
op = "resize"
rule = "input"  # a factor of the size it has
resize_factor = {{ mixture = [{{ uniform = [1.0, 1.2] }}, {{ uniform = [0.5, 1.0] }}, 1.0], weights = [0.3, 0.4, 0.3] }}
mode = {{ choice = ["torch_area", "torch_bilinear", "torch_bicubic"] }}
"""
    if answers.scale == 1 and answers.stages == 1:
        return ""
    return """
# To the size of LR.
[[slot]]
name = "down"
op = "resize"
rule = "final"
mode = { choice = ["torch_area", "torch_bilinear", "torch_bicubic"] }
"""


def _noise(answers: NewSpace, stage: int) -> str:
    if answers.noise == "none":
        return ""
    (low, high), (least, most) = NOISE_8BIT[answers.noise], POISSON_GAIN[answers.noise]
    return f"""
# The sensor: the same everywhere ("gaussian"), or more where it is bright ("poisson").
[[slot]]
name = "noise{stage}"
op = "noise"
kind = {{ choice = ["gaussian", "poisson"], weights = [0.5, 0.5] }}
sigma_8bit = {{ uniform = [{low}, {high}] }}  # of 255
poisson_gain = {{ uniform = [{least}, {most}] }}
gray = {{ bernoulli = 0.4 }}  # 1: the same in all channels
"""


def _jpeg(answers: NewSpace, stage: int) -> str:
    if answers.jpeg == "none":
        return ""
    low, high = JPEG_QUALITY[answers.jpeg]
    return f"""
# Stored as JPEG.
[[slot]]
name = "jpeg{stage}"
op = "jpeg"
mode = "libjpeg"
quality = {{ uniform = [{low}, {high}], round = true }}
subsampling = {{ choice = ["420", "444"], weights = [0.8, 0.2] }}  # "444" keeps colour at full size
"""


def preview_of(space: Space) -> bytes:
    """A contact sheet of the first tasks, a PNG."""
    max_pixels = round(DEFAULT_MEGAPIXELS * 1e6)
    found = cropped_images(None, None, space, BUNDLED_HR_SIZE_PX, max_pixels)
    sheet, failed = preview_sheet(sample(space, 0, range(PREVIEW_TASKS)), found, torch.device("cpu"), max_pixels)
    if sheet is None:
        raise SpaceError(failed[0])
    return encode_picture(sheet, PICTURE_ENDINGS[0])

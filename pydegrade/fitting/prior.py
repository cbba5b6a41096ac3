"""The wide space that fitting begins with where no other is given."""

from __future__ import annotations

from ..tasks.space import Space

SCALES = range(1, 9)
_WIDEST_SIGMA_PX = {1: 2.5, 2: 3.0, 3: 3.5}
"""HR px; 4 px from x4 on."""


def wide_space(scale: int) -> Space:
    """One round of blur, resize, noise and JPEG, each from none to severe.

    Args:
        scale: HR pixels to a LR pixel, 1 to 8; at 1 nothing is resized.
    """
    widest = _WIDEST_SIGMA_PX.get(scale, 4.0)
    resize = """
[[slot]]
name = "down"
op = "resize"
rule = "final"
mode = { choice = ["torch_area", "torch_bilinear", "torch_bicubic"] }
"""
    return Space.loads(f"""
[space]
name = "wide-x{scale}"
scale = {scale}
source = "degrade fit: one round of everything, from none to severe"
hr_px = {128 * scale}

[[slot]]
name = "blur1"
op = "blur"
shape = {{ choice = ["iso", "aniso"], weights = [0.65, 0.35] }}
size_px = 25
sigma_x_px = {{ uniform = [0.1, {widest}] }}
sigma_y_px = {{ uniform = [0.1, {widest}] }}
angle_rad = {{ uniform = [-3.141592653589793, 3.141592653589793] }}
{resize if scale > 1 else ""}
[[slot]]
name = "noise1"
op = "noise"
kind = {{ choice = ["off", "gaussian", "poisson"], weights = [0.1, 0.55, 0.35] }}
sigma_8bit = {{ log_uniform = [0.5, 40.0] }}
poisson_gain = {{ log_uniform = [0.03, 4.0] }}
gray = {{ bernoulli = 0.4 }}

[[slot]]
name = "jpeg1"
op = "jpeg"
mode = {{ choice = ["off", "libjpeg"], weights = [0.15, 0.85] }}
quality = {{ uniform = [10, 100], round = true }}
subsampling = {{ choice = ["420", "444"], weights = [0.7, 0.3] }}
""")

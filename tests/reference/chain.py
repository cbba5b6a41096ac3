"""A task, slot by slot, in float64 from the formulas: judges the engine and imports nothing of it.

It takes parameters as plain values and an image, and gives the image after the slot. Sizes follow from the rules of the
published models, noise from a Philox of its own.
"""

from __future__ import annotations

import numpy as np

from . import blur as blur_reference
from . import jpeg as jpeg_reference
from . import noise as noise_reference
from . import rain as rain_reference
from . import resize as resize_reference


def run_slot(op, p, image, hr_size, scale, key):
    """float64 [3, H, W] -> [3, h, w].

    Args:
        op: name of the op.
        p: its parameters by short name; choices as text.
        image: the image before the slot.
        hr_size: (height, width) of the HR image.
        key: the image's four Philox words, the last combined with the slot.
    """
    return OPS[op](p, image, hr_size, scale, key)


def round_8bit(image):
    return np.rint(np.clip(image * 255, 0, 255)) / 255


def _blur(p, image, hr_size, scale, key):
    values = blur_reference.kernel(
        p["shape"], p["size_px"], p["sigma_x_px"], p["sigma_y_px"], p["angle_rad"], p["beta"], p["cutoff_rad"]
    )
    if p["shift_px"]:
        values = blur_reference.moved(values, p["shift_px"])
    return np.stack([blur_reference.blur(plane, values, p["border"]) for plane in image])


def _resize(p, image, hr_size, scale, key):
    mode, factor = p["mode"], p["resize_factor"]
    if p["rule"] == "final":
        size = tuple(int(side // scale * factor) for side in hr_size)
        return resize_reference.resize(image, size, mode)
    if mode.startswith("matlab") or mode == "decimate":
        # The factor is stored in float32; the spaces mean one over a whole number.
        whole = round(1 / factor)
        return resize_reference.resize(image, tuple(-(-side // whole) for side in image.shape[1:]), mode, 1 / whole)
    size = tuple(int(np.floor(side * factor)) for side in image.shape[1:])
    if mode == "torch_bilinear" and size == image.shape[1:]:
        return image  # torch's bilinear copies when the size stays, whatever the factor; its bicubic does not
    return resize_reference.resize(image, size, mode, factor if mode.startswith("torch") else None)


def _noise(p, image, hr_size, scale, key):
    height, width = image.shape[1:]
    gray = bool(p["gray"])
    if p["kind"] == "luma":  # Y of BT.601 enters every channel alike
        z = noise_reference.normals(key, "gaussian", 0, height, width)
        return np.clip(image + z * p["sigma_8bit"] / 255, 0, 1)
    if p["kind"] == "chroma":  # Cb and Cr, each with its own normals, brought to RGB
        to_rgb = np.array([[0, 1.402], [-0.344136, -0.714136], [1.772, 0]]) * p["sigma_8bit"] / 255
        z = np.stack([noise_reference.normals(key, "correlated", channel, height, width) for channel in range(2)])
        return np.clip(image + np.einsum("ij,jhw->ihw", to_rgb, z), 0, 1)
    if p["kind"] == "gaussian":
        z = [noise_reference.normals(key, "gaussian", 0 if gray else channel, height, width) for channel in range(3)]
        return np.clip(image + np.stack(z) * p["sigma_8bit"] / 255, 0, 1)
    if p["kind"] in ("speckle", "shot_read"):
        z = [noise_reference.normals(key, p["kind"], 0 if gray else channel, height, width) for channel in range(3)]
        sigma = p["sigma_8bit"] / 255
        spread = sigma * image if p["kind"] == "speckle" else np.sqrt(p["shot_gain"] * np.maximum(image, 0) + sigma**2)
        return np.clip(image + spread * np.stack(z), 0, 1)
    if p["kind"] == "correlated":
        c = np.array(
            [
                [p["cov_rr_8bit2"], p["cov_rg_8bit2"], p["cov_rb_8bit2"]],
                [p["cov_rg_8bit2"], p["cov_gg_8bit2"], p["cov_gb_8bit2"]],
                [p["cov_rb_8bit2"], p["cov_gb_8bit2"], p["cov_bb_8bit2"]],
            ]
        )
        values, vectors = np.linalg.eigh(c)
        root = vectors @ np.diag(np.sqrt(np.abs(values))) @ vectors.T / 255
        z = np.stack([noise_reference.normals(key, "correlated", channel, height, width) for channel in range(3)])
        return np.clip(image + np.einsum("ij,jhw->ihw", root, z), 0, 1)

    # Poisson counts by inversion of nothing but the law: too slow and another coupling, so only what every sampler must
    # give is judged here: see `poisson_lattice`.
    raise NotImplementedError("Poisson noise is judged by poisson_lattice")


def poisson_lattice(p, before, after):
    """Whether an image can be Poisson noise on `before`, and the z-score of its mean and its variance.

    Every pixel that was not clipped must be x + gain (k / V - xr) for a whole k >= 0. Returns the largest distance of k
    from a whole number and the z-score of the sum of (k - rate).
    """
    weights = np.array([0.2989, 0.587, 0.114])
    shown = np.tensordot(weights, before, 1)[None] if p["gray"] else before
    levels = np.rint(np.clip(shown * 255, 0, 255))
    v = 2.0 ** np.ceil(np.log2(len(np.unique(levels))))
    rate = np.broadcast_to(levels / 255 * v, before.shape)
    count = (after - before) / p["poisson_gain"] * v + rate
    inside = (after > 0) & (after < 1)
    off = np.abs(count - np.rint(count))[inside].max(initial=0)
    # Clipping biases the sum, so only pixels far from both ends count.
    spread = 8 * p["poisson_gain"] * np.sqrt(np.maximum(rate, 1)) / v
    safe = (before - spread > 0) & (before + spread < 1)
    if p["gray"]:
        safe = safe.all(0)[None]
        count, rate = count[:1], rate[:1]
    total = rate[safe].sum()
    score = 0.0 if total < 50 else (count[safe] - rate[safe]).sum() / np.sqrt(total)
    return off * p["poisson_gain"] / v, score


def _jpeg(p, image, hr_size, scale, key):
    if p["mode"] == "libjpeg":
        levels = np.rint(np.clip(image.astype(np.float32) * np.float32(255), 0, 255)).astype(np.uint8)
        coded = jpeg_reference.libjpeg(levels.transpose(1, 2, 0), int(p["quality"]), p["subsampling"])
        return coded.transpose(2, 0, 1) / 255
    basicsr = p["mode"] == "diffjpeg_basicsr"
    clipped = np.clip(image, 0, 1)
    return jpeg_reference.diffjpeg(clipped, p["quality"], p["subsampling"], basicsr, "straight_through")


def _rain(p, image, hr_size, scale, key):
    return rain_reference.rain(image, p, key)


def _sharpen(p, image, hr_size, scale, key):
    return np.stack(
        [blur_reference.sharpen(plane, p["weight"], p["radius_px"], p["threshold_8bit"]) for plane in image]
    )


OPS = {"blur": _blur, "resize": _resize, "noise": _noise, "jpeg": _jpeg, "sharpen": _sharpen, "rain": _rain}
"""Those of the compiled module; the others have their references in test_plain_ops.py."""

"""Codecs against the bare library: the same file or stream, made and read by who calls it directly. Medians and diffused
errors against OpenCV and Pillow.

Bare PyAV converts colours with FFmpeg's scaler, whose chroma differs from ours by rounding.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import ops

from . import inputs, peers
from .peers import Agreement, Array, Peer, each, values

CODECS = ("h264", "h265", "mpeg2", "mpeg4", "vp9", "av1")
SIDE_PX = 64 if inputs.SIDE_PX < 400 else 128


def bytes_of(images: torch.Tensor) -> list[Array]:
    return [np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy()) for image in images]


@pytest.mark.parametrize(
    ("name", "setting", "given"),
    [
        ("webp", {"quality": 80, "method": 0}, {"quality": 80, "method": 0}),
        ("webp", {"quality": 80, "method": 4}, {"quality": 80, "method": 4}),
        ("avif", {"quality": 75, "speed": 10}, {"quality": 75, "speed": 10, "max_threads": 1}),
    ],
    ids=["webp-0", "webp-4", "avif-10"],
)
def test_codec(compare: Any, name: str, setting: dict[str, Any], given: dict[str, Any]) -> None:
    from PIL import Image

    inputs.settle_threads()
    images = inputs.photographs(inputs.BATCH, SIDE_PX)

    def bare(pixels: Array) -> Array:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, name.upper(), **given)
        with Image.open(file) as decoded:
            return np.asarray(decoded)

    run = each(bare, bytes_of(images), inputs.THREADS)
    exact = values(0.0, "the same bytes")
    compare(
        lambda: getattr(ops, name)(images, **setting), [Peer("pillow", run, exact)], target=0.9, against=("pillow",)
    )


@pytest.mark.parametrize("frames", [1, 8])
@pytest.mark.parametrize("codec", CODECS)
def test_video(compare: Any, codec: str, frames: int) -> None:
    av = pytest.importorskip("av")
    inputs.settle_threads()
    images = inputs.photographs(8, SIDE_PX)
    module = import_module("pydegrade.ops.video")
    given = {"codec": codec, "speed": 8, "preset": "superfast"}
    columns = {column.name: column.neutral for column in module.OP.columns} | given
    encoder_name, decoder_name = module._LIBRARIES[codec]
    options = module._options(columns)

    def bare(clip: list[Array]) -> list[Array]:
        encoder, decoder = av.CodecContext.create(encoder_name, "w"), av.CodecContext.create(decoder_name, "r")
        encoder.width, encoder.height, encoder.pix_fmt = SIDE_PX, SIDE_PX, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        encoder.options, decoder.options = options
        encoder.thread_count = decoder.thread_count = 1
        module._open(encoder)  # as root SVT-AV1 would make this a real-time process
        packets = []
        for number, pixels in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        return [frame.to_ndarray(format="rgb24") for frame in decoded]

    pixels = bytes_of(images)
    clips = [pixels[first : first + frames] for first in range(0, len(pixels), frames)]
    each_clip = each(bare, clips, inputs.THREADS if frames == 1 else 1)
    near = Agreement(lambda ours, theirs: float((ours - theirs).abs().mean()), 0.02, "chroma is rounded otherwise")
    peer = Peer("pyav", lambda: [frame for clip in each_clip() for frame in clip], near)
    compare(
        lambda: ops.video(images, **given, clip=frames > 1),
        [peer],
        threads=inputs.THREADS if frames == 1 else 1,
        target=0.9,
        against=("pyav",),
    )


@pytest.mark.parametrize("size_px", [3, 5, 9])
def test_median(compare: Any, size_px: int) -> None:
    inputs.settle_threads()
    images = inputs.photographs()
    contenders = []
    inside = slice(size_px, -size_px)

    def within(ours: torch.Tensor, theirs: torch.Tensor) -> float:
        return float((ours - theirs)[:, :, inside, inside].abs().max())

    floats = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]
    same = Agreement(within, 1e-6, "borders are laid out otherwise; bytes over 255")
    if cv2 := peers.module("opencv"):
        # OpenCV's medians of floats end at 5 x 5.
        arrays = floats if size_px <= 5 else bytes_of(images)
        run: Callable[[], Any] = each(lambda image: cv2.medianBlur(image, size_px), arrays, inputs.THREADS)
        contenders.append(Peer("opencv" if size_px <= 5 else "opencv, of bytes", run, same))
    compare(lambda: ops.median(images, size_px), contenders, target=1.5, against=("opencv",))


@pytest.mark.parametrize("dither", ["floyd_steinberg", "jarvis"])
def test_diffused_errors(compare: Any, dither: str) -> None:
    from PIL import Image

    inputs.settle_threads()
    images = inputs.photographs()
    planes = [Image.fromarray(plane) for image in bytes_of(images) for plane in image.transpose(2, 0, 1)]
    run = each(lambda plane: np.asarray(plane.convert("1")), planes, inputs.THREADS)
    note = "Floyd and Steinberg's alone, in whole numbers, two levels"
    compare(lambda: pydegrade.ops.quantize(images, 2, dither), [Peer("pillow", run, None, note)], target=1.5)

"""Video codecs: judged by PyAV, called as its users call it, with files of a container."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import TaskBatch, ops
from pydegrade.errors import OpError, SpaceError, TaskError

from .golden_pixels import picture

HEAD = '[space]\nname = "v"\nscale = 1\n[[slot]]\nname = "v"\nop = "video"\n'
video = import_module("pydegrade.ops.video")
CODECS = ("h264", "h265", "mpeg2", "mpeg4", "vp9", "av1")


def planes_of(image: torch.Tensor) -> np.ndarray:
    """Y'CbCr 4:2:0 of an image with even sides: BT.601, from its matrix."""
    levels = np.rint(np.clip(image.double().numpy(), 0, 1) * 255)
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
    y, cb, cr = np.einsum("dc,chw->dhw", matrix, levels)
    height, width = y.shape
    small = [plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for plane in (cb, cr)]
    flat = [np.rint(16 + y * 219 / 255).ravel(), *(np.rint(128 + plane * 224 / 255).ravel() for plane in small)]
    return np.concatenate(flat).reshape(height * 3 // 2, width).astype(np.uint8)


def pixels_of(planes: np.ndarray) -> np.ndarray:
    """RGB levels [3, H, W] of Y'CbCr 4:2:0, by its formulas in float64."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    flat = planes.ravel().astype(np.float64)
    luma = (flat[: height * width].reshape(height, width) - 16) * 255 / 219
    cb, cr = (flat[height * width :].reshape(2, height // 2, width // 2) - 128).repeat(2, 1).repeat(2, 2) * 255 / 224
    red, blue = luma + 1.402 * cr, luma + 1.772 * cb
    return np.clip(np.rint(np.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue])), 0, 255)


def through_file(frame, encoder, options, out_format):
    """The frame of a Matroska file that holds it alone."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        stream.thread_count = 1
        video._open(stream.codec_context)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return next(container.decode(video=0)).to_ndarray(format=out_format)


FILES = {
    "h264": ("libx264", {"crf": "33", "preset": "fast", "x264-params": "cpu-independent=1"}),
    "h265": ("libx265", {"crf": "33", "preset": "fast", "x265-params": "log-level=none:pools=none:frame-threads=1"}),
    "mpeg2": ("mpeg2video", {"qmin": "9", "qmax": "9", "flags": "+bitexact", "dct": "int", "idct": "simple"}),
    "mpeg4": ("mpeg4", {"qmin": "9", "qmax": "9", "flags": "+bitexact", "dct": "int", "idct": "simple"}),
    "vp9": ("libvpx-vp9", {"crf": "33", "b": "0", "cpu-used": "8"}),
    "av1": ("libsvtav1", {"crf": "33", "preset": "9", "svtav1-params": "lp=1"}),
}


@pytest.mark.parametrize("codec", CODECS)
def test_pixels_are_those_of_the_file(codec):
    import av

    image = picture(64, 66, 2)
    planes = planes_of(image)
    encoder, options = FILES[codec]
    expected = through_file(av.VideoFrame.from_ndarray(planes, format="yuv420p"), encoder, options, "yuv420p")
    columns = {column.name: column.neutral for column in video.OP.columns}
    columns |= {"codec": codec, "crf": 33, "qscale": 9, "preset": "fast", "speed": 9, "profile": "auto"}
    found = video.through_codec([planes], columns)[0]
    # A decoder that is not told otherwise uses the transform of its processor, which may round the other way.
    assert np.abs(found.astype(int) - expected).max() <= (1 if codec.startswith("mpeg") else 0)
    out = ops.video(image[None], codec, crf=33, qscale=9, preset="fast", speed=9)
    assert np.array_equal(planes, video._to_planes(image.numpy(), *image.shape[1:]))
    assert np.array_equal(out[0].numpy(), pixels_of(found).astype(np.float32) / 255)


@pytest.mark.parametrize("sides", [(1, 1), (2, 300), (5, 513), (9, 64)])
def test_colours_of_any_size_are_those_of_the_formulas(sides):
    """Beyond the image its last row and column; NaN and what lies outside [0, 1] as images have it."""
    image = picture(*sides, 3)
    height, width = (side + side % 2 + 6 for side in sides)
    laid_out = np.pad(image.numpy(), ((0, 0), (0, height - sides[0]), (0, width - sides[1])), "edge")
    expected = planes_of(torch.from_numpy(laid_out))
    assert np.array_equal(video._to_planes(image.numpy(), height, width), expected)
    wild = image.clone()
    wild[0, 0, 0], wild[1, 0, 0], wild[2, 0, 0] = float("nan"), float("inf"), -3.0
    tame = image.clone()
    tame[0, 0, 0], tame[1, 0, 0], tame[2, 0, 0] = 0.0, 1.0, 0.0
    made = (video._to_planes(one.numpy(), height, width) for one in (wild, tame))
    assert np.array_equal(*made)
    random = np.random.default_rng(0).integers(0, 256, expected.shape, np.uint8)
    back = np.empty((3, *sides), np.float32)
    video._from_planes(random, back)
    assert np.array_equal(back, pixels_of(random)[:, : sides[0], : sides[1]].astype(np.float32) / 255)


def test_colours_cost_no_more_than_by_the_conversion_of_pyav():
    import av

    image = picture(48, 66, 2)
    rgb = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    encoder, options = FILES["h264"]
    theirs = through_file(av.VideoFrame.from_ndarray(rgb, format="rgb24"), encoder, options, "rgb24")
    ours = ops.video(image[None], crf=33, preset="fast")[0].permute(1, 2, 0).numpy() * 255
    error, other = (np.square(found - rgb.astype(np.float64)).mean() for found in (ours, theirs))
    assert 0.7 * other < error < 1.1 * other


def test_worse_settings_lose_more_and_a_rate_is_aimed_at():
    image = picture(64, 64, 1)[None]

    def error(**given):
        return (ops.video(image, **given) - image).square().mean()

    for codec, name, values in (
        ("h264", "crf", (20, 35, 51)),
        ("mpeg2", "qscale", (2, 12, 31)),
        ("av1", "crf", (20, 63)),
    ):
        losses = [error(codec=codec, speed=10, **{name: value}) for value in values]
        assert losses == sorted(losses)
        assert losses[0] < losses[-1]
    for codec in ("h264", "h265"):
        low, high = (error(codec=codec, control="bitrate", bits_per_frame=bits) for bits in (2e3, 2e5))
        assert low > high
    assert torch.equal(ops.video(image, "vp9", control="bitrate", speed=8), ops.video(image, "vp9", speed=8))
    assert not torch.equal(ops.video(image, profile="baseline"), ops.video(image, profile="high"))


@pytest.mark.parametrize("codec", CODECS)
def test_a_clip_is_compressed_as_one(codec):
    scene = picture(50, 65, 4)
    frames = torch.stack([scene[:, t : t + 34, 2 * t : 2 * t + 41] for t in range(7)])
    given = {"crf": 40, "qscale": 20, "speed": 10, "preset": "superfast"}
    found = ops.video(frames, codec, clip=True, **given)
    assert found.shape == frames.shape
    # Each frame is the likeness of its own: none is late, early or missing.
    errors = (found[:, None] - frames[None]).square().mean(dim=(2, 3, 4))
    assert torch.equal(errors.argmin(dim=1), torch.arange(7))
    assert torch.equal(found, ops.video(frames, codec, clip=True, **given))
    assert not torch.equal(found, ops.video(frames, codec, **given))
    assert torch.equal(ops.video(frames[:1], codec, clip=True, **given), ops.video(frames[:1], codec, **given))


def test_a_clip_has_one_value_of_each_parameter():
    frames = picture(20, 20)[None].repeat(3, 1, 1, 1)
    with pytest.raises(ValueError, match=r"video: crf of a clip must be one value, got \[20, 30, 40\]"):
        ops.video(frames, crf=[20, 30, 40], clip=True)
    with pytest.raises(ValueError, match=r"crf of h264 must be in \[0, 51\], got 52"):
        ops.video(frames, crf=52, clip=True)
    assert torch.equal(ops.video(frames, "off", clip=True), frames)
    assert ops.video(frames[:0], clip=True).shape == (0, 3, 20, 20)


@pytest.mark.parametrize("size", [(1, 1), (17, 9), (3, 40)])
def test_odd_and_small_sides_are_laid_out_with_the_last_row_and_column(size):
    image = picture(*size, 3)
    found = ops.video(image[None].repeat(6, 1, 1, 1), CODECS, speed=10)
    for codec, one in zip(CODECS, found):
        height, width = (max(64 if codec == "h265" else 16, side + side % 2) for side in size)
        y, x = np.minimum(np.arange(height), size[0] - 1), np.minimum(np.arange(width), size[1] - 1)
        whole = ops.video(image[:, y][:, :, x][None], codec, speed=10)[0]
        assert torch.equal(one, whole[:, : size[0], : size[1]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: ops.video(i, ["h264", "h265"], crf=[51, 52]), r"crf of h265 must be in \[0, 51\], got 52 at row 1"),
        (lambda i: ops.video(i, "av1", crf=0), r"video: crf of av1 must be in \[1, 63\], got 0 at row 0"),
        (
            lambda i: ops.video(i, "h264", crf=[1, 0], profile="high"),
            "video: crf 0 of h264 is without loss, which profile high does not know at row 1",
        ),
        (lambda i: ops.video(i, "vp9", crf=64), r"video: crf must be in \[0, 63\], got 64"),
        (lambda i: ops.video(i, "mpeg4", qscale=0), r"video: qscale must be in \[1, 31\], got 0"),
        (lambda i: ops.video(i, "xvid"), "video: codec must be one of 'off', 'h264', .*got 'xvid'"),
        (lambda i: ops.video(i[:, :1]), "video: images must have 3 channels, got 1"),
        (
            lambda i: ops.video(i[:1, :, :1, :1].expand(1, 3, 20000, 16), "mpeg2"),
            "video: mpeg2video refuses 16x20000 px",
        ),
    ],
)
def test_wrong_values_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(caught.value)


def test_a_clip_without_memory_keeps_its_shape():
    frames = torch.empty(2, 3, 9, 9, device="meta")
    assert (ops.video(frames, clip=True).shape, ops.video(frames[:0], clip=True).shape) == (frames.shape, (0, 3, 9, 9))


def test_a_crf_of_a_space_that_the_codec_lacks_names_the_task():
    with pytest.raises(SpaceError, match=r"space:\d+: slot v: video: crf of h264 must be in \[0, 51\], got 60"):
        pydegrade.Space.loads(f'{HEAD}codec = "h264"\ncrf = 60\n')


def test_a_crf_of_a_task_that_the_codec_lacks_is_refused_when_it_is_read(tmp_path):
    """In an address, a table and a file: not once per image, in the middle of the work."""
    space = pydegrade.Space.loads(f'{HEAD}codec = "vp9"\ncrf = 60\n')
    tasks = pydegrade.sample(space, 0, range(3))
    message = r"slot v: video: crf of h264 must be in \[0, 51\], got 60"
    with pytest.raises(TaskError, match=f"^{message} at row 2$"):
        tasks.replace(**{"v.codec": ["vp9", "vp9", "h264"]})
    with pytest.raises(TaskError, match=f"^{message} at row 0$"):
        tasks.replace(**{"v.codec": "h264", "order": "v"})
    address = f"{tasks.addresses[0]}?v.codec=h264"
    with pytest.raises(TaskError, match=f"^{message}$"):
        TaskBatch.from_addresses(address, space)
    (tmp_path / "t.csv").write_text(f"address\n{address}\n")
    with pytest.raises(TaskError, match=rf"^[^ ]*t\.csv: {message}$"):
        TaskBatch.load(tmp_path / "t.csv", space)
    codes = np.full(3, video.CODECS.index("h264"), np.int32)
    replace(tasks, columns={**tasks.columns, "v.codec": codes}).save(tmp_path / "t.npz")
    with pytest.raises(TaskError, match=rf"^[^ ]*t\.npz: {message} at row 0$"):
        TaskBatch.load(tmp_path / "t.npz")
    # Together with another value, or where it has no effect, it may stand.
    assert tasks.replace(**{"v.codec": "h264", "v.crf": 40}).labels("v.crf") == ["40"] * 3
    assert tasks.replace(**{"v.codec": "h264", "v.control": "bitrate"}).labels("v.codec") == ["h264"] * 3


def test_without_pyav_or_a_codec_one_line_says_what_brings_it(monkeypatch):
    import av

    def without(*arguments):
        raise av.codec.codec.UnknownCodecError("libsvtav1")

    monkeypatch.setattr(av, "Codec", without)
    with pytest.raises(OpError, match=r"built without libsvtav1, which av1 needs; .*pydegrade\[video\]"):
        ops.video(torch.zeros(1, 3, 8, 8), "av1")
    for cached in (video.pyav, video._library):
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        SpaceError, match=r"space:\d+: slot v: op 'video': video needs the package av: .*pydegrade\[video\]"
    ):
        pydegrade.Space.loads(f'{HEAD}codec = "h264"\n')
    monkeypatch.undo()
    for cached in (video.pyav, video._library):
        cached.cache_clear()
    pydegrade.Space.loads(f'{HEAD}codec = "h264"\n')


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="a system without real-time priorities")
def test_no_encoder_leaves_a_thread_with_more_right_to_run(monkeypatch):
    """SVT-AV1 takes the highest one for itself and its caller where it may, which is as root."""

    def policies() -> set[int]:
        found = set()
        for thread in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):
                found.add(os.sched_getscheduler(int(thread)))
        return found

    before, during = policies(), set()
    opened = video._open

    def watched(encoder):
        opened(encoder)
        during.update(policies())

    monkeypatch.setattr(video, "_open", watched)
    for codec in CODECS:
        ops.video(picture(64, 64)[None], codec=codec)
    assert during == policies() == before

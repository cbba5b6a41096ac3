"""Video codecs: the pixels of a frame that was compressed."""

from __future__ import annotations

import hashlib
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import OpError, needs, shown
from ..native import binding
from . import plain
from .arguments import check_images
from .clip import of_first_size
from .declaration import BoolArray, Column, Columns, Op, among, decided_by

Codec = Literal["off", "h264", "h265", "mpeg2", "mpeg4", "vp9", "av1"]
Control = Literal["quality", "bitrate"]
Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]  # fmt: skip
Profile = Literal["auto", "baseline", "main", "high"]
CODECS: tuple[Codec, ...] = ("off", "h264", "h265", "mpeg2", "mpeg4", "vp9", "av1")
CONTROLS: tuple[Control, ...] = ("quality", "bitrate")
PRESETS: tuple[Preset, ...] = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip
PROFILES: tuple[Profile, ...] = ("auto", "baseline", "main", "high")

_LIBRARIES = {
    "h264": ("libx264", "h264"),
    "h265": ("libx265", "hevc"),
    "mpeg2": ("mpeg2video", "mpeg2video"),
    "mpeg4": ("mpeg4", "mpeg4"),
    "vp9": ("libvpx-vp9", "vp9"),
    "av1": ("libsvtav1", "libdav1d"),
}
"""FFmpeg's names of encoder and decoder."""

_CRF = {"h264": (0, 51), "h265": (0, 51), "vp9": (0, 63), "av1": (1, 63)}
"""To FFmpeg 0 means, of SVT-AV1, that none is given."""

_WITH_PRESET = among(CODECS, ("h264", "h265"))
_WITH_QSCALE = among(CODECS, ("mpeg2", "mpeg4"))
_WITH_SPEED = among(CODECS, ("vp9", "av1"))
_H264, _BITRATE = CODECS.index("h264"), CONTROLS.index("bitrate")
_LEAST_PX = {"h265": 64}
"""Sides below are laid out to this, those of other codecs to 16. x265 takes no fewer than 16 px, and several frames of
fewer than about 48 px make it free memory that is not its own."""


@decided_by("codec", "control", "profile")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    codec = columns["codec"]
    preset, qscale, speed = _WITH_PRESET[codec], _WITH_QSCALE[codec], _WITH_SPEED[codec]
    by_bits = (preset | qscale) & (columns["control"] == _BITRATE)
    return {
        "control": by_bits,
        "crf": speed | (preset & ~by_bits),
        "qscale": qscale & ~by_bits,
        "bits_per_frame": by_bits,
        "preset": preset,
        "speed": speed,
        "profile": (codec == _H264) & (columns["profile"] != 0),
    }


# ---- The libraries


@cache
def pyav() -> Any:
    """PyAV; OpError, one line, without it."""
    try:
        # SVT-AV1 tells its settings on the terminal otherwise.
        os.environ.setdefault("SVT_LOG", "1")
        import av
    except ImportError:
        raise OpError(needs("video", "av", "video")) from None
    return av


@cache
def _library() -> str:
    av = pyav()
    # Distributions build FFmpeg with other encoders, and encoders for other processors round differently.
    built = str(av._core.library_meta["libavcodec"]["configuration"])
    build = hashlib.sha256(built.encode()).hexdigest()[:8]
    return f"PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info} ({build}, {platform.machine()})"


def _codec(name: str, mode: Literal["r", "w"], codec: str) -> Any:
    av = pyav()
    try:
        return av.Codec(name, mode)
    except ValueError:  # av.codec.codec.UnknownCodecError
        raise OpError(
            f"video: this PyAV was built without {name}, which {codec} needs; the wheels on PyPI have it: "
            "pip install --force-reinstall 'pydegrade[video]'"
        ) from None


def _by_bits(columns: Mapping[str, Any]) -> bool:
    return columns["control"] == "bitrate" and columns["codec"] not in ("vp9", "av1")


def _fault(columns: Mapping[str, Any]) -> str:
    """What a codec does not take of values that are each in range; "" when nothing is."""
    codec, crf, profile = columns["codec"], columns["crf"], columns["profile"]
    if _by_bits(columns):
        return ""
    low, high = _CRF.get(codec, (0, 63))
    if not low <= crf <= high:
        return f"video: crf of {codec} must be in [{low}, {high}], got {crf:g}"
    if codec == "h264" and crf == 0 and profile != "auto":
        return f"video: crf 0 of h264 is without loss, which profile {profile} does not know"
    return ""


def _options(columns: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Options of encoder and decoder: the quality, and what makes the result the same on every processor."""
    codec, by_bits = columns["codec"], _by_bits(columns)
    fault = _fault(columns)
    if fault:
        raise ValueError(fault)
    quality = {} if by_bits else {"crf": str(columns["crf"])}
    match codec:
        case "h264":
            profile = {} if columns["profile"] == "auto" else {"profile": columns["profile"]}
            return {"preset": columns["preset"], "x264-params": "cpu-independent=1", **profile, **quality}, {}
        case "h265":
            # Without a pool of threads and with one frame at a time the order of its work is always the same.
            alone = "log-level=none:pools=none:frame-threads=1:wpp=0"
            return {"preset": columns["preset"], "x265-params": alone, **quality}, {}
        case "vp9":
            return {
                "cpu-used": str(min(columns["speed"], 8)),
                "deadline": "good",
                "row-mt": "0",
                "b": "0",
                **quality,
            }, {}
        case "av1":
            return {"preset": str(columns["speed"]), "svtav1-params": "lp=1", **quality}, {}
        case _:
            # The other transforms of these two differ between processors.
            exact = {"flags": "+bitexact", "idct": "simple"}
            scale = {} if by_bits else {"qmin": str(columns["qscale"]), "qmax": str(columns["qscale"])}
            return {"dct": "int", **exact, **scale}, exact


def through_codec(frames: Sequence[NDArray[np.uint8]], columns: Mapping[str, Any]) -> list[NDArray[np.uint8]]:
    """What is left of a clip after a codec.

    Args:
        frames: T of [3 H / 2, W], planar Y'CbCr 4:2:0 as `_to_planes` gives it.
        columns: of the op, with a codec.
    Returns:
        as many of the same shape.
    """
    av = pyav()
    names = _LIBRARIES[columns["codec"]]
    encoder = av.CodecContext.create(_codec(names[0], "w", columns["codec"]))
    decoder = av.CodecContext.create(_codec(names[1], "r", columns["codec"]))
    by_bits = _by_bits(columns)
    # Bits per second at one frame per second are bits per frame; quality is meant for the usual 25.
    rate = Fraction(1 if by_bits else 25)
    encoder.width, encoder.height, encoder.pix_fmt = frames[0].shape[1], frames[0].shape[0] * 2 // 3, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / rate, rate
    if by_bits:
        encoder.bit_rate, encoder.bit_rate_tolerance = round(columns["bits_per_frame"]), 128_000
    encoder.options, decoder.options = _options(columns)
    encoder.thread_count = decoder.thread_count = 1
    found: list[NDArray[np.uint8]] = []

    def take(packets: Any) -> None:
        for packet in packets:
            found.extend(frame.to_ndarray(format="yuv420p") for frame in decoder.decode(packet))

    try:
        _open(encoder)
        for number, planes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            take(encoder.encode(frame))
        take(encoder.encode(None))
        take([None])
    except av.FFmpegError as error:
        reason = " ".join(str(error.strerror).split())[:200]
        raise OpError(f"video: {names[0]} refuses {encoder.width}x{encoder.height} px: {reason}") from None
    if len(found) != len(frames):
        raise OpError(f"video: {names[0]} gave {len(found)} frames for {len(frames)}")
    return found


def _open(encoder: Any) -> None:
    """Open an encoder; no thread has more right to run than the caller's.

    SVT-AV1, opened by root (as in most containers), makes its threads real-time ones of the highest priority, and for good
    also the thread that opens it, with all that this one starts later: they would keep everything else from running.
    """
    # Systems without these calls have no such priorities either.
    if encoder.codec.name != "libsvtav1" or not hasattr(os, "sched_setscheduler"):
        encoder.open()
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    others = set(os.listdir("/proc/self/task")) - {str(threading.get_native_id())}
    encoder.open()
    for thread in set(os.listdir("/proc/self/task")) - others:
        with suppress(ProcessLookupError):  # another encoder's, which has just ended
            os.sched_setscheduler(int(thread), policy, priority)


# ---- Colours


def _to_planes(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """RGB [3, H, W] in [0, 1], rounded to 8 bits and laid out to even sides, -> Y'CbCr 4:2:0 [3 height / 2, width] of
    BT.601, 16 to 235 and 240; chroma is the mean of 2 x 2."""
    planes = np.empty((height * 3 // 2, width), np.uint8)
    sides = {"height": image.shape[1], "width": image.shape[2], "yuv_height": height, "yuv_width": width}
    binding.call("yuv_of_planes", planes=image.ravel(), yuv=planes.ravel(), **sides)
    return planes


def _from_planes(planes: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Back to the upper left part of RGB, [3, H, W], multiples of 1/255; each chroma value counts for its 2 x 2 px."""
    sides = {"height": out.shape[1], "width": out.shape[2]}
    sides |= {"yuv_height": planes.shape[0] * 2 // 3, "yuv_width": planes.shape[1]}
    binding.call("planes_of_yuv", yuv=planes.ravel(), planes=out.ravel(), **sides)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    return image if columns["codec"] == "off" else _through([image], columns)[0]


def _apply_clip(
    frames: Sequence[torch.Tensor], columns: Mapping[str, Any], words: tuple[int, int, int, int]
) -> list[torch.Tensor]:
    """The frames after a codec, all of the size of the first one."""
    return _through(of_first_size(frames), columns)


def _through(frames: Sequence[torch.Tensor], columns: Mapping[str, Any]) -> list[torch.Tensor]:
    """The frames of a clip, [3, H, W] each, after a codec."""
    if frames[0].shape[0] != 3:
        raise OpError(f"video: images must have 3 channels, got {frames[0].shape[0]}")
    values = [frame.detach().cpu().contiguous().numpy() for frame in frames]
    least = _LEAST_PX.get(columns["codec"], 16)
    height, width = (max(least, side + side % 2) for side in values[0].shape[1:])
    coded = through_codec([_to_planes(frame, height, width) for frame in values], columns)
    decoded = [np.empty_like(frame) for frame in values]
    for frame, planes in zip(decoded, coded):
        _from_planes(planes, frame)
    return [torch.from_numpy(frame).to(frames[0].device) for frame in decoded]


OP = Op(
    name="video",
    columns=(
        Column("codec", "Of a clip of this one frame.", choices=CODECS, neutral="off"),
        Column(
            "control",
            "quality: crf, of mpeg2 and mpeg4 qscale; bitrate (not of vp9 and av1): bits_per_frame.",
            choices=CONTROLS,
            neutral="quality",
        ),
        Column("crf", "Of h264 and h265 to 51; of vp9, and of av1 from 1.", 0, 63, neutral=28, integer=True),
        Column("qscale", "Of mpeg2 and mpeg4: 1 is fine, 31 coarse.", 1, 31, neutral=8, integer=True),
        Column("bits_per_frame", "What the encoder aims at along a clip.", 1e3, 1e7, neutral=1e5),
        Column("preset", "Effort of h264 and h265.", choices=PRESETS, neutral="medium"),
        Column("speed", "Effort of vp9 (to 8) and av1: 0 searches longest.", 0, 10, neutral=6, integer=True),
        Column("profile", "Of h264.", choices=PROFILES, neutral="auto"),
    ),
    active=_active,
    apply=_apply,
    apply_clip=_apply_clip,
    fault=_fault,
    library=_library,
    concurrent=True,
    switch="codec",
)


def video(
    images: torch.Tensor,
    codec: Codec | Sequence[Codec] = "h264",
    *,
    crf: int | ArrayLike | torch.Tensor = 28,
    qscale: int | ArrayLike | torch.Tensor = 8,
    bits_per_frame: float | ArrayLike | torch.Tensor = 1e5,
    control: Control | Sequence[Control] = "quality",
    preset: Preset | Sequence[Preset] = "medium",
    speed: int | ArrayLike | torch.Tensor = 6,
    profile: Profile | Sequence[Profile] = "auto",
    clip: bool = False,
) -> torch.Tensor:
    """What is left of each image after a video codec, as the only frame of its clip, by FFmpeg through PyAV.

    h264 is x264, h265 x265, vp9 libvpx, av1 SVT-AV1 read by dav1d; mpeg2 and mpeg4 are FFmpeg's own. Everything happens in
    this process. Values are clipped and rounded to 8 bits, half to even, and become Y'CbCr of BT.601 in 16 to 235, chroma
    the mean of 2 x 2 px; on the way back each chroma value counts for its 2 x 2 px. Odd sides, and those below 16 px (of
    h265 64 px), are laid out with the last row and column. Images run beside each other, each on one thread (x265 and
    SVT-AV1 keep threads of their own, whose number does not count). On CUDA the pixels make a round trip over the host. No
    gradient.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1].
        codec: "h264", "h265", "mpeg2", "mpeg4", "vp9", "av1" or "off", one or B.
        crf: whole number or [B]: 0 to 51 of h264 and h265, 0 to 63 of vp9, 1 to 63 of av1.
        qscale: whole number or [B], 1 to 31, of mpeg2 and mpeg4.
        bits_per_frame: number or [B], 1e3 to 1e7, where control is "bitrate" (not of vp9 and av1). mpeg2 and mpeg4 come
            to it along a clip: of a single frame it decides nothing.
        control: "quality" (crf or qscale) or "bitrate", one or B.
        preset: of h264 and h265, "ultrafast" to "veryslow", one or B.
        speed: whole number or [B], 0 (best) to 10, of vp9 and av1; vp9 ends at 8.
        profile: of h264, "auto", "baseline", "main" or "high", one or B; only "auto" knows crf 0, which is without loss.
        clip: the images are the frames of one clip, in their order, and each parameter has one value.
    Returns:
        [B, 3, H, W] float32, multiples of 1/255 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row. OpError: no PyAV, or without this codec.
    Source: ITU-T H.264, H.265, H.262; ISO 14496-2; VP9 and AV1 bitstream specifications. APISR (Wang et al. 2024) draws
        crf 23 to 38 of h264, 28 to 42 of h265 and qscale 8 to 31; RealBasicVSR (Chan et al. 2022) 1e4 to 1e5 bits.
    """
    check_images("video", images)
    given = {"codec": codec, "control": control, "crf": crf, "qscale": qscale, "bits_per_frame": bits_per_frame}
    given |= {"preset": preset, "speed": speed, "profile": profile}
    if clip:
        for name, value in given.items():
            if not isinstance(value, (str, int, float, np.number)):
                raise ValueError(f"video: {name} of a clip must be one value, got {shown(value)}")
        return _clip(images, given)
    columns = plain.columns_of(OP, given, len(images))
    for row in range(len(images)):
        fault = _fault({name: values[row] for name, values in columns.items()})
        if fault:
            raise ValueError(f"{fault} at row {row}")
    return plain.run(OP, images, given)


def _clip(images: torch.Tensor, given: Mapping[str, Any]) -> torch.Tensor:
    """The batch as one clip, with parameters checked as those of one image."""
    columns = plain.columns_of(OP, given, 1)
    values = {name: column[0] for name, column in columns.items()}
    fault = _fault(values)
    if fault:
        raise ValueError(fault)
    if images.is_meta or not len(images):
        return torch.empty_like(images)
    return images.clone() if values["codec"] == "off" else torch.stack(_through(list(images), values))

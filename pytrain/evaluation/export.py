"""Model files for other programs: ONNX with any height and width, checked against torch; safetensors and `.pth`.

Shapes: the ONNX graph takes `image` [B, C, H, W] float32 in [0, 1] and gives `upscaled` [B, C', sH, sW], not clipped.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import nets
from ..errors import CheckpointError, ConfigError, needs, one_line
from ..files import checkpoint

# Largest difference between onnxruntime and torch, relative to the largest output: both add in float32, in other
# orders, and the error grows with the square root of the network's depth. 100 layers of 1e-6 each stay below it.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class OnnxReport:
    """What an ONNX export did."""

    path: Path
    multiple_px: int  # heights and widths must be multiples of this (1 for most networks)
    verified: bool  # False where onnxruntime is not installed
    max_difference: float  # largest relative difference to torch over the sizes tried; NaN when not verified


def export_onnx(net: nn.Module, config: Any, path: str | Path, metadata: Mapping[str, Any] | None = None) -> OnnxReport:
    """Write a network as ONNX with dynamic batch, height and width, and compare it with torch.

    Args:
        net: what `nets.build(config)` made, on any device; exported in evaluation mode, float32.
        config: its configuration, stored in the file's properties as JSON together with the scale.
        path: ends in `.onnx`; written atomically. The weights are inside the file (up to 2 GB).
        metadata: further JSON values for the properties.
    Returns:
        What was checked. The comparison runs at two sizes other than the traced one when onnxruntime is installed.
    Raises:
        ConfigError: onnx or onnxscript is not installed, or the suffix is another.
        CheckpointError: the network has no ONNX form, the result differs from torch, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ConfigError(f"{path}: an ONNX file must end in .onnx, got {path.suffix!r}")
    onnx = onnx_package()

    # Trace a copy on the CPU. Sizes of 0 and 1 cells, and equal ones, would be taken for constants.
    multiple_px = int(getattr(net, "multiple_px", 1))
    in_channels = int(getattr(config, "in_channels", 3))
    traced = copy.deepcopy(net).cpu().float().eval()
    example = torch.rand(2, in_channels, 6 * multiple_px, 10 * multiple_px)
    model = _traced(traced, example, multiple_px).model_proto
    properties = {
        "net": json.dumps(nets.config_to_dict(config)),
        "scale": str(net.scale),
        "multiple_px": str(multiple_px),
        **{key: json.dumps(value) for key, value in (metadata or {}).items()},
    }
    onnx.helper.set_model_props(model, properties)
    content = model.SerializeToString()
    verified, difference = _compare(traced, content, in_channels, multiple_px)
    if verified and not difference <= TOLERANCE:
        raise CheckpointError(
            f"{path}: onnxruntime must agree with torch to {TOLERANCE:g}, got {difference:.3g}; nothing was written"
        )
    checkpoint.atomic_write(path, lambda temporary: _write(temporary, content))
    return OnnxReport(path, multiple_px, verified, difference)


def onnx_package() -> Any:
    """The package onnx; ConfigError where it or what torch's exporter translates with is not installed."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(needs("export: ONNX", "onnx or onnxscript", "onnx", error)) from None
    return onnx


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _traced(net: nn.Module, example: torch.Tensor, multiple_px: int) -> Any:
    """torch's exporter, quiet, with batch, height and width left open."""
    batch = torch.export.Dim("batch", min=1, max=2**16)
    height = torch.export.Dim("height_cells", min=1, max=2**16)
    width = torch.export.Dim("width_cells", min=1, max=2**16)
    shape = {0: batch, 2: height, 3: width}
    if multiple_px > 1:
        shape |= {2: multiple_px * height, 3: multiple_px * width}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                net,
                (example,),
                dynamo=True,
                dynamic_shapes=(shape,),
                input_names=["image"],
                output_names=["upscaled"],
                verbose=False,
            )
    except Exception as error:
        # The exporter raises a class per stage, full of advice to its developers; the cause below says what went wrong.
        raise CheckpointError(f"export: this network has no ONNX form ({one_line(error.__cause__ or error)})") from None
    finally:
        logger.setLevel(level)


def _compare(net: nn.Module, content: bytes, in_channels: int, multiple_px: int) -> tuple[bool, float]:
    """(whether onnxruntime ran, largest difference to torch relative to the largest output)."""
    try:
        import onnxruntime
    except ImportError:
        return False, float("nan")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, cells_y, cells_x in ((1, 3, 2), (2, 7, 4)):
        cell_px = multiple_px if multiple_px > 1 else 5
        image = torch.rand(batch, in_channels, cells_y * cell_px, cells_x * cell_px, generator=generator)
        with torch.no_grad():
            wanted = net(image)
        found = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
        if found.shape != wanted.shape:
            return True, float("inf")
        largest = max(largest, float((found - wanted).abs().max() / wanted.abs().max()))
    return True, largest


def convert(source: str | Path, target: str | Path) -> Path | OnnxReport:
    """Write any model file that `checkpoint.load_model` reads as `.safetensors`, `.pth` or `.onnx`, by the suffix.

    Averaged weights are taken where the source has them. The keys are the field's, so spandrel and chaiNNer load it.

    Raises:
        CheckpointError, ConfigError: see `load_model`, `save_model` and `export_onnx`.
    """
    loaded = checkpoint.load_model(source)
    own = {"format", "version", "architecture", "scale", "net", "weights", "num_weights", "crc32"}
    metadata = {key: value for key, value in loaded.metadata.items() if key not in own}
    if Path(target).suffix == ".onnx":
        return export_onnx(loaded.net, loaded.config, target, metadata)
    checkpoint.save_model(target, loaded.config, loaded.net, metadata=metadata)
    return Path(target)

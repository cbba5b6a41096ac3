"""`pytrain export`: a model file in another format."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import absolute, say

ENDINGS = (".safetensors", ".pth", ".onnx")


@click.command(name="export", short_help="Write a model file in another format.")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
def command(model_path: Path, target: Path) -> None:
    """Write MODEL as OUT, whose ending chooses the format: .safetensors, .pth or .onnx.

    The keys are those that spandrel, chaiNNer and the BasicSR family expect. ONNX files take any height and width, and
    are compared with torch at two sizes where onnxruntime is installed.

    \b
    Examples:
      pytrain export out/quickstart/models/best.safetensors quickstart.onnx
      pytrain export RealESRGAN_x4plus.pth x4plus.safetensors
    """
    from pydegrade.shell import check_file

    check_file(target, ENDINGS, "OUT", [model_path])
    from ..evaluation.export import OnnxReport, convert

    done = convert(model_path, target)
    if isinstance(done, OnnxReport):
        sizes = f"sides of multiples of {done.multiple_px} px" if done.multiple_px > 1 else "any size"
        checked = f"largest relative difference to torch {done.max_difference:.1e}"
        say(f"{sizes}, {checked if done.verified else 'not compared with torch: onnxruntime is not installed'}")
    say(absolute(target))

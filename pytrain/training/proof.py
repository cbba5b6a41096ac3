"""`prove`: whether what a configuration asks for can be computed, found by one step on shapes.

Checks of options say what is wrong with one of them. That a network, a method, a precision and a number of channels fit
together shows only when they meet; so a step of the method is run with a few images on torch's meta device, where tensors
have a shape and no numbers. What needs numbers (networks of spandrel, formats other than fp32) takes a real step on small
crops instead.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

import pydegrade

from .. import nets as networks
from ..config.config import Config, method_name
from ..data.batch import Batch
from ..errors import ConfigError, PytrainError, is_out_of_memory, one_line
from ..evaluation.infer import upscale
from ..methods.contract import Method
from ..methods.losses import MS_SSIM_LEAST_PX
from . import opening
from .memory import available_bytes, size_text
from .precision import PLAIN, Precision, choose_precision

ROWS = 2
"""Images of the step, at least; a method that compares images gets one of its groups."""

SMALL_PX = 64
"""Side of the crops of a real step, at least."""

COLOUR_TASKS = 256
"""Tasks that are tried where images are not RGB."""

CPU, META = torch.device("cpu"), torch.device("meta")


def prove(config: Config) -> list[str]:
    """What would stop a run in its first step, one line each; empty where nothing would.

    Builds method and networks as a run does, model files read. Trains and writes nothing, opens no images, and leaves
    torch's generator alone.
    """
    try:
        check_size(config.net)
        method = opening.build_method(config)
        opening.check_phases(config, method)
        opening.check_batch(config, method)
        with torch.random.fork_rng(devices=[]):
            nets = opening.fresh_nets(config, method, CPU)
    except PytrainError as error:
        return [str(error)]
    return step_problems(config, method, nets)


def check_size(net: Any) -> None:
    """Refuse a network before anything of it is allocated.

    Raises:
        ConfigError: its images are of no kind that can be trained on, or its weights alone are more than the machine's
            memory.
    """
    networks.image_channels(net)
    if isinstance(net, networks.SpandrelConfig):
        return
    with META:
        size_bytes = 4 * networks.num_parameters(networks.build(net))
    available = available_bytes(CPU)
    if available is not None and size_bytes > available:
        raise ConfigError(
            f"net: its weights take {size_text(size_bytes)}, this machine has {size_text(available)} of memory"
        )


def step_problems(config: Config, method: Method, nets: Mapping[str, nn.Module]) -> list[str]:
    """What would stop a step of parts that are built; see `prove`.

    Args:
        config: the run.
        method: of the run.
        nets: its networks on the CPU; they are not changed.
    """
    net = config.net.type
    where = f"method {method_name(config.method)} on {net}"
    with torch.random.fork_rng(devices=[]):
        found = _colour_problem(config, method)
        found = found or _problem(where, lambda device: _step(config, method, nets, PLAIN, device))
        precision = config.train.precision
        if not found and precision in ("bf16", "fp16"):
            on_gpu = config.run.device != "cpu" and torch.cuda.is_available()
            device = torch.device("cuda") if on_gpu else CPU
            try:
                chosen = choose_precision(precision, device, lambda _: lambda: None)
            except ConfigError as error:
                return [str(error)]
            found = _problem(f"{where} in {precision}", lambda _: _step(config, method, nets, chosen, device), device)
        main = nets[method.averaged[0]]
        found = found or _problem(f"{net} on a whole image", lambda device: _whole_image(config, main, device))
    return [found] if found else []


def _problem(where: str, work: Callable[[torch.device], None], first: torch.device = META) -> str:
    """`"where: what went wrong"`, or nothing. What has no form without numbers is tried with them."""
    for device in dict.fromkeys((first, CPU)):
        try:
            work(device)
        except PytrainError as error:
            return str(error)
        except Exception as error:
            # Networks and losses of others may raise anything.
            if is_out_of_memory(error):
                return ""  # what a step takes is estimated elsewhere
            problem = f"{where}: {one_line(error)}"
        else:
            return ""
    return problem


def _step(
    config: Config, method: Method, nets: Mapping[str, nn.Module], precision: Precision, device: torch.device
) -> None:
    """Losses and gradients of all phases, on a few images."""
    step = config.run.steps - 1  # the last one: every loss that starts later than the others has started
    rows = max(method.group_rows, min(ROWS, config.data.batch))
    scale, channels = int(config.net.scale), networks.image_channels(config.net)
    indices = np.arange(rows, dtype=np.int64)
    tasks = method.select(step, indices)
    scale = scale if tasks is None else tasks.space.scale
    side_px = method.hr_side_px(step) or config.data.crop_px
    if device.type != "meta" and method.hr_side_px(step) is None:
        least_px = MS_SSIM_LEAST_PX if getattr(config.method, "ms_ssim_weight", 0) > 0 else SMALL_PX
        side_px = min(side_px, math.lcm(8, scale) * -(-least_px // math.lcm(8, scale)))
    hr = torch.rand(rows, channels, side_px, side_px, device=device)
    lr = torch.rand(rows, channels, side_px // scale, side_px // scale, device=device)
    extra = {name: lr if name.startswith("lr") else hr for name in method.images if name not in ("hr", "lr")}
    if tasks is not None:
        extra |= {name: label.to(device) for name, label in method.labels(step, tasks).items()}
    placed = {name: precision.arranged(copy.deepcopy(net).to(device)) for name, net in nets.items()}
    batch = precision.batch(Batch(indices, lr, hr, hr, tasks, extra))
    with torch.no_grad():
        batch = precision.batch(method.prepare(placed, batch, step))
    for phase in method.phases:
        for name, net in placed.items():
            net.requires_grad_(name in phase.trains)
        with precision.autocast(device):
            terms = phase.loss(placed, batch, step)
        if terms.losses:
            torch.stack([value.float() for value in terms.losses.values()]).sum().backward()
        batch = batch.with_extra(terms.kept)


@torch.no_grad()
def _whole_image(config: Config, net: nn.Module, device: torch.device) -> None:
    """What evaluation and `pytrain infer` do: an image through the network, which keeps its channels and has its scale."""
    channels, scale = networks.image_channels(config.net), int(config.net.scale)
    placed = copy.deepcopy(net).to(device).eval()
    one_task: Callable[[str], nn.Module] | None = getattr(placed, "one_task", None)
    tasks = networks.task_scales(config.net)
    if one_task is not None and tasks:
        placed = one_task(next(iter(tasks)))
    side_px = max(16, int(getattr(placed, "patch_px", 0)))
    out = upscale(placed, torch.rand(1, channels, side_px, side_px, device=device))
    expected = (1, channels, scale * side_px, scale * side_px)
    if tuple(out.shape) != expected:
        raise ConfigError(f"net: its output must have shape {expected}, got {tuple(out.shape)}")


def _colour_problem(config: Config, method: Method) -> str:
    """Whether the method's tasks need colours that the network's images do not have."""
    channels = networks.image_channels(config.net)
    tasks = method.select(0, np.arange(COLOUR_TASKS, dtype=np.int64)) if channels != 3 else None
    if tasks is None:
        return ""
    side_px = math.lcm(8, tasks.space.scale)
    try:
        pydegrade.degrade_batch(torch.zeros(COLOUR_TASKS, channels, side_px, side_px), tasks)
    except ValueError as error:
        images = "gray images" if channels == 1 else "images with alpha"
        return f"method.space: {tasks.space.name} cannot degrade {images}: {one_line(error)}"
    return ""

"""What `pytrain check` finds."""

from __future__ import annotations

import torch

from pydegrade.errors import ImageError
from pydegrade.files import MemoryBudget, decode_as_stored
from pydegrade.shell import Progress, chosen_device

from ... import nets
from ...config.config import Config, digest, method_name
from ...data.source import Source, open_source
from ...errors import ConfigError, one_line
from ...evaluation.export import onnx_package
from ...evaluation.results import score_names
from ...evaluation.sets import open_sets
from ...methods.registry import METHODS
from ...training import log, memory, opening, proof


def findings(config: Config, decodes: bool = True) -> list[str]:
    """One line for each thing that a run would use; everything is opened, cheapest first.

    Args:
        config: of the run.
        decodes: whether every training image is decoded, with progress.
    Raises:
        PytrainError: the first that cannot be used.
    """
    log.check_packages(config.log)
    if config.checkpoint.onnx:
        onnx_package()
    proof.check_size(config.net)
    method = opening.build_method(config)
    opening.check_phases(config, method)
    opening.check_batch(config, method)
    opening.check_adapting(config)
    scale = int(config.net.scale)
    channels = nets.image_channels(config.net)
    seed = config.run.seed
    source = open_source(config.data, method.images, scale, seed, channels=channels, mixes=method.mixes_pairs)
    sets = open_sets(config.evaluate, scale, nets.task_scales(config.net), channels)
    opening.check_kept(config, score_names(config.evaluate, sets))
    with torch.random.fork_rng(devices=[]):
        networks = opening.fresh_nets(config, method, torch.device("cpu"))
    for problem in proof.step_problems(config, method, networks):
        raise ConfigError(problem)

    name = method_name(config.method)
    lines = [f"method: {name}, {METHODS[name].summary}"]
    lines += [f"net {name}: {nets.num_parameters(net):,} parameters" for name, net in networks.items()]
    lines.append(f"data: {source.describe()}")
    lines += [f"note: {note}" for note in source.notes]
    fresh = opening.left_fresh(config, method, networks[method.averaged[0]])
    lines += [f"note: {fresh}"] if fresh else []
    lines += undecodable(source) if decodes else []
    lines += [f"evaluation set {one.name}: {len(one.hr.images)} images, {one.degradation}" for one in sets]
    samples = config.run.steps * config.data.batch
    degraded = samples * (1 - config.data.paired_share)
    crops = f"{samples:,} crops, {degraded / len(source.images['hr'].images):,.0f} of each image"
    if source.paired is not None:
        crops += f", {(samples - degraded) / len(source.paired.images['hr'].images):,.0f} of each real pair"
    lines.append(f"run: {config.run.steps:,} steps of {config.data.batch} images, {crops}")

    device = chosen_device(config.run.device, "run.device")
    needed, available = memory.estimate(config, method, networks), memory.available_bytes(device)
    lines.append(f"memory on {device}: {needed.describe()}")
    if available is not None and needed.total > available:
        lines.append(
            f"warning: {device} has {memory.size_text(available)}; raise train.accumulate (same result) or lower "
            "data.batch or data.crop_px"
        )
    if sets and not opening.best_by(config, method, score_names(config.evaluate, sets)):
        lines.append(f"note: {opening.NO_BEST}")
    lines.append(f"results: {opening.out_folder(config)}")
    lines.append(f"digest of what determines the weights: {digest(config)}")
    return lines


def undecodable(source: Source) -> list[str]:
    """A line for every training image that cannot be decoded: a run draws other crops in its place."""
    sets = [*source.images.values(), *(source.paired.images.values() if source.paired is not None else ())]
    files = {image: None for images in sets for image in images.images}
    lines = []
    progress, budget = Progress(len(files)), MemoryBudget()
    try:
        for image in files:
            try:
                decode_as_stored(image, memory=budget)
            except (ImageError, OSError) as error:
                lines.append(f"warning: {one_line(error, 300)}; training passes over it")
            progress.advance()
    finally:
        progress.close()
    return lines

"""Measuring models for `pytrain eval`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pydegrade.files import compare, display_name, folder_lock, listed, read_card, write_image
from pydegrade.shell import Progress, Results, check_folder, write_file

from ...config.config import Config
from ...errors import ConfigError, DataError
from ...evaluation.evaluate import evaluate
from ...evaluation.results import EvalResult
from ...evaluation.sets import EvalSet, open_sets, pictures_of, sources_of
from ...evaluation.settings import EvalSetConfig, EvaluateConfig, Reference
from ...evaluation.strips import file_names, three_channels
from ...files.checkpoint import LoadedModel, load_model
from ...nets import channels_of, image_channels, task_scales
from ...training.opening import out_folder

BASELINES = ("bicubic", "bicubic-y-double")
INPUTS, INDEX = "inputs", "eval.json"
"""Of a folder of results: HR and LR, and what it holds."""
ALL_IMAGES = 2**31


@dataclass(frozen=True)
class EvalRequest:
    """What is measured, and on what.

    Attributes:
        models: files and baselines.
        settings: sets, protocols, tiles.
        scale: where it is known without the models.
        net: the configured network, whose tasks sets may name; None without a configuration.
    """

    models: tuple[str, ...]
    settings: EvaluateConfig
    scale: int | None
    net: Any = None

    def changed(
        self, protocols: Sequence[str], tile_px: int, overlap_px: int, metrics: Sequence[str] = ()
    ) -> EvalRequest:
        """With protocols, perceptual metrics and tiles of the command line, where they were given."""
        settings = replace(
            self.settings,
            protocols=tuple(protocols) or self.settings.protocols,
            perceptual=tuple(metrics) or self.settings.perceptual,
        )
        if tile_px:
            settings = replace(settings, tile_px=tile_px, overlap_px=overlap_px)
        return replace(self, settings=settings)


def of_config(config: Config, models: Sequence[str], where: str) -> EvalRequest:
    """The sets of a configuration; its best model against bicubic where no models are named."""
    if not config.evaluate.sets:
        raise ConfigError(f"{where}: evaluate.sets must name at least one set, got none")
    return EvalRequest(
        tuple(models) or ("bicubic", best_model(config)), config.evaluate, int(config.net.scale), config.net
    )


def described_sets(
    hr: Sequence[Path],
    lr: Path | None,
    spaces: Sequence[str],
    seed: int,
    reference: Reference,
    models: Sequence[str],
    scale: int | None,
) -> EvalRequest:
    """The evaluation that --hr, --lr, --space and --reference describe: one set per space."""
    name = hr[0].resolve().name if hr else "photographs"
    sources = tuple(map(str, hr))
    if reference == "target" and lr is None and not any(space != "bicubic" for space in spaces):
        raise ConfigError("eval: --reference target needs --space or --lr, whose images of --hr are targets")
    if lr is not None:
        sets: tuple[EvalSetConfig, ...] = (EvalSetConfig(name, sources, lr=str(lr), reference=reference),)
    else:
        kinds = tuple(spaces) or ("bicubic",)
        sets = tuple(
            EvalSetConfig(
                name if len(kinds) == 1 else f"{name}-{Path(space).stem}",
                sources,
                space="" if space == "bicubic" else space,
                reference="hr" if space == "bicubic" else reference,
                seed=seed,
            )
            for space in kinds
        )
    return EvalRequest(tuple(models), EvaluateConfig(sets=sets), scale)


def of_card(path: Path, folders: Sequence[Path], reference: Reference, models: Sequence[str]) -> EvalRequest:
    """The evaluation on the set of a card, by the card's protocol.

    Args:
        path: the card.
        folders: the one folder of the set, as `degrade sample --card` makes it.
        reference: "hr", or "target" where the set has one.
        models: files and baselines.
    Raises:
        ConfigError: no such folder, or a card of arrays. DataError: files that are not those of the card.
    """
    if len(folders) != 1 or not folders[0].is_dir():
        raise ConfigError(
            f"eval: --card needs --hr, the one folder that degrade sample --card made, got {len(folders)}"
        )
    card, folder = read_card(path), folders[0]
    if card.file_format == "npy":
        raise ConfigError(f"{path}: a set of npy files cannot be measured; make it as png or lmdb")
    if reference == "target" and card.tasks.space.target == "hr":
        raise ConfigError(
            f"{path}: --reference target needs a space with a sharpened target, got {card.tasks.space.name}"
        )
    found = compare(listed(path, card), folder, pixels=True)
    if found.lines:
        raise DataError(
            f"{folder}: is not the set of {path}: {found.lines[0]} ({len(found.lines)} such); degrade verify"
        )
    ending = ".lmdb" if card.file_format == "lmdb" else ""
    name = f"{path.stem}@{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    measured = EvalSetConfig(
        name, (str(folder / f"{reference}{ending}"),), lr=str(folder / f"lr{ending}"), reference=reference
    )
    settings = EvaluateConfig(sets=(measured,))
    if card.protocol:
        settings = replace(settings, protocols=(card.protocol,))
    return EvalRequest(tuple(models), settings, card.tasks.space.scale)


def best_model(config: Config) -> str:
    """The best model file of a configuration's run, else its last."""
    folder = out_folder(config) / "models"
    for name in ("best", "last"):
        if (folder / f"{name}.safetensors").is_file():
            return str(folder / f"{name}.safetensors")
    raise ConfigError(f"{folder}: holds no model yet; train first, or give --model FILE")


def opened(
    request: EvalRequest,
) -> tuple[dict[str, tuple[str, LoadedModel | None]], tuple[EvalSet, ...]]:
    """Models by label, each with its file or the name of its baseline, and the sets of their scale.

    Raises:
        PytrainError: a model or set that cannot be used.
    """
    models = request.models
    loaded = {name: None if name in BASELINES else load_model(name, scale=request.scale) for name in models}
    known = {request.scale} if request.scale else set()
    scales = {int(model.net.scale) for model in loaded.values() if model is not None} | known  # type: ignore[arg-type]
    if len(scales) != 1:
        got = " and ".join(f"x{one}" for one in sorted(scales)) or "baselines only; give --scale"
        raise ConfigError(f"eval: models must have one scale, got {got}")
    configs = [model.config for model in loaded.values() if model is not None]
    configs += [request.net] if request.net is not None else []
    tasks = {task: own for one in configs for task, own in task_scales(one).items()}
    kinds = {channels_of(model.net) for model in loaded.values() if model is not None}
    if len(kinds) > 1:
        raise ConfigError(f"eval: models must take images of one kind, got {sorted(kinds)} channels")
    channels = kinds.pop() if kinds else image_channels(request.net) if request.net is not None else 3
    return dict(zip(labels(models), loaded.items())), open_sets(request.settings, scales.pop(), tasks, channels)


def measure(request: EvalRequest, device: torch.device, folder: Path | None) -> list[EvalResult]:
    """Scores of every model on every set.

    Args:
        request: models and sets.
        device: that runs the models.
        folder: for results as images, what they were made from, and INDEX, of which `degrade gallery` makes a page; None:
            nothing is written.
    Raises:
        PytrainError: a model or set that cannot be used.
        NotFiniteError: a model gave NaN or infinity; no number is returned then.
    """
    models, settings = request.models, request.settings
    if folder is not None:
        names = labels(models)
        if INPUTS in names:
            raise ConfigError(f"--save-images: no model may be called {INPUTS}, as the folder of HR and LR is")
        pictures = [picture for label in names for picture in pictures_of(settings, folder / label)]
        pictures += [folder / INPUTS / one.name / kind / "x.png" for one in settings.sets for kind in ("hr", "lr")]
        check_folder(folder, sources_of(settings), "--save-images", pictures)
        settings = replace(settings, save_images=ALL_IMAGES)
    named, sets = opened(replace(request, settings=settings))
    progress = Progress(len(models) * sum(len(one.hr.images) for one in sets), 0, "images")

    def measured(label: str) -> EvalResult:
        name, model = named[label]
        net: Any = name if model is None else model.net.to(device)
        into = None if folder is None else folder / label
        trained = None if model is None else model.metadata.get("scales")
        return evaluate(
            net,
            sets,
            settings,
            into,
            None,
            label,
            lambda _done, _total: progress.advance(1),
            must_be_finite=True,
            trained_scales=trained if isinstance(trained, list) else (),
        )

    try:
        with contextlib.nullcontext() if folder is None else folder_lock(folder):
            if folder is not None:
                results = Results(folder, "eval", {})
                own = [*named, INPUTS, INDEX]
                results.check(own, [], "--save-images")
                for label in own:
                    results.claim(label)
            found = [measured(label) for label in named]
            if folder is not None:
                _save_inputs(folder, sets)
                write_file(folder / INDEX, _index(found, sets).encode())
            return found
    finally:
        progress.close()


def _save_inputs(folder: Path, sets: Sequence[EvalSet]) -> None:
    """HR and LR of every image, as they were compared and given to the models."""
    for one in sets:
        names = file_names([image.name for image in one.hr.images])
        for name, pair in zip(names, one.pairs()):
            for kind, pixels in (
                ("hr", pair.hr),
                ("lr", pair.lr[..., 0] if pair.lr.shape[-1] == 1 else pair.lr[..., :3]),
            ):
                write_image(folder / INPUTS / one.name / kind / f"{name}.png", three_channels(pixels))


def _index(results: Sequence[EvalResult], sets: Sequence[EvalSet]) -> str:
    """What the folder holds, as JSON: per set its images with their files and tasks, per model the scores of each."""
    described = [
        {
            "name": one.name,
            "degradation": one.degradation,
            "images": [display_name(image.name) for image in one.hr.images],
            "files": [f"{name}.png" for name in file_names([image.name for image in one.hr.images])],
            "addresses": [] if one.tasks is None else one.tasks.addresses,
        }
        for one in sets
    ]
    measured = [
        {
            "label": result.model,
            "sets": [
                {score.protocol: list(score.values) for score in (*one.scores, *one.perceptual)} for one in result.sets
            ],
        }
        for result in results
    ]
    content = {"version": 1, "scale": sets[0].scale if sets else 0, "sets": described, "models": measured}
    # JSON has no infinity. A number stands on a line of its own; a name may hold the word.
    return re.sub(r"^( *-?)Infinity", r"\g<1>1e999", json.dumps(content, indent=1), flags=re.MULTILINE) + "\n"


def labels(models: Sequence[str]) -> list[str]:
    """Short names: of files the last part, with the folders before it where that is needed to tell them apart."""
    parts = [Path(name).parts if name not in BASELINES else (name,) for name in models]
    texts: list[str] = []
    for length in range(1, max(map(len, parts)) + 1):
        texts = ["/".join(entry[-length:]).removeprefix("//") for entry in parts]
        if len(set(texts)) == len(set(models)):
            break
    return [text.replace("/", "_") for text in texts]

"""ECO's data: what a pretrained network makes of every image, and that image made small again, next to the real pair.

For each clean image y four aligned PNG files of one name are written, in folders of these names:

- `hr`: y, cropped at the right and at the bottom to a multiple of the scale
- `lr`: D(hr), MATLAB's bicubic
- `sr_pretrained`: the frozen teacher's output for `lr`, clipped and rounded to 8 bits
- `lr_pretrained`: D(sr_pretrained), from the rounded output

`manifest.json` names teacher, recipe and the pixels of every file. Source: ECO, AAAI 2024, arXiv:2312.17526.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

import pydegrade
from pydegrade.errors import ImageError
from pydegrade.files import (
    MAX_PIXELS,
    HrImage,
    MemoryBudget,
    decode,
    display_name,
    encode_png,
    find_images,
    folder_lock,
    path_inside,
    read_image,
    unique_names,
)
from pydegrade.shell import Fates, Item, Items, Progress, Results, each

from ..errors import CheckpointError, DataError, one_line
from ..evaluation.infer import upscale_array
from ..files.checkpoint import atomic_write_text

Recipe = Literal["uint8", "im2double"]
RECIPES = ("uint8", "im2double")
SETS = ("hr", "lr", "sr_pretrained", "lr_pretrained")
MANIFEST_FILE = "manifest.json"
IDENTITY_FILE = "pairs.json"
FORMAT = "pytrain-pairs"
VERSION = 1


@dataclass(frozen=True)
class PairsIdentity:
    """What makes two starts of `degrade pairs` the same run.

    Attributes:
        scale: of the teacher.
        recipe: "uint8": MATLAB's imresize of 8-bit images, rounded after each direction, as ECO's authors made theirs;
            "im2double": rounded once, as most training sets are.
        teacher: SHA-256 of the teacher's weights.
        images: digest of the clean images.
    """

    scale: int
    recipe: Recipe
    teacher: str
    images: str


@dataclass(frozen=True)
class PairsRequest:
    """What one process makes: a shard of a run.

    Attributes:
        names: all images of the run, by the name that their files get, without extension.
        images: the same images.
        excluded: one line for each file that cannot be used.
        identity: see there.
        shard: (number, count): this process makes images number, number + count, ...
        max_pixels: limit of an image.
    """

    names: tuple[str, ...]
    images: tuple[HrImage, ...]
    excluded: tuple[str, ...]
    identity: PairsIdentity
    shard: tuple[int, int] = (0, 1)
    max_pixels: int = MAX_PIXELS


def weights_sha256(net: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights: the same for every file that holds them."""
    state = net.state_dict() if isinstance(net, nn.Module) else net
    sha = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        sha.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        sha.update(value.numpy().tobytes())
    return sha.hexdigest()


def pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 over shape and bytes of an image: the same however its file is compressed."""
    return hashlib.sha256(f"{pixels.shape}\n".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def downscale(pixels: NDArray[np.uint8], scale: int, recipe: Recipe) -> NDArray[np.uint8]:
    """D: uint8 [H, W, 3] -> uint8 [H / scale, W / scale, 3], MATLAB's bicubic."""
    semantics: Literal["class", "im2double"] = "class" if recipe == "uint8" else "im2double"
    return pydegrade.imresize(pixels, scale=1 / scale, semantics=semantics)


def plan_pairs(
    sources: Sequence[str | Path],
    teacher: nn.Module,
    recipe: Recipe,
    shard: tuple[int, int] = (0, 1),
    max_pixels: int = MAX_PIXELS,
) -> PairsRequest:
    """What is to be made.

    Args:
        sources: folders, files or LMDBs of clean images; empty: photographs of scikit-image.
        teacher: with an integer attribute `scale`.
        recipe: see `PairsIdentity`.
        shard: (number, count).
        max_pixels: limit of an image.
    Raises:
        DataError: no images.
    """
    scale = int(teacher.scale)  # type: ignore[arg-type]
    try:
        found = find_images([Path(source) for source in sources], side_px=scale, max_pixels=max_pixels)
        names = unique_names([PurePosixPath(image.name) for image in found.images])
    except (ImageError, OSError) as error:
        raise DataError(f"--hr: {one_line(error)}") from None
    identity = PairsIdentity(scale, recipe, weights_sha256(teacher), found.digest)
    return PairsRequest(tuple(names), found.images, found.excluded, identity, shard, max_pixels)


@dataclass(frozen=True)
class WrittenPairs:
    """What `write_pairs` did.

    Attributes:
        complete: whether all images of the run are made now, also those of other shards; the manifest is written then.
        fates: of this shard's images, those that could not be opened included.
        seconds: of making them.
    """

    complete: bool
    fates: Fates
    seconds: float


def write_pairs(
    request: PairsRequest,
    teacher: nn.Module,
    out: Path,
    tile_px: int | None = None,
    finished: Callable[[int], None] = lambda count: None,
) -> WrittenPairs:
    """Make this shard's images that are not made yet, or were made from something else.

    Args:
        request: from `plan_pairs`.
        teacher: in evaluation mode; runs where its weights are.
        out: the folder; new, empty, or of the same run.
        tile_px: side of the teacher's tiles in LR pixels; None: whole images.
        finished: called with the number of images done after each one.
    Raises:
        DataError: the folder holds another run.
        pydegrade.errors.OutputError: another process makes this shard.
    """
    started_s = time.perf_counter()
    number, count = request.shard
    mine = [
        Item(request.names[position], request.images[position].place)
        for position in range(len(request.names))
        if position % count == number
    ]
    image_of = dict(zip(request.names, request.images))
    tag = f".pydegrade-{number}-of-{count}"
    _check_identity(out, request.identity)
    with folder_lock(out, f"{number}-of-{count}"):
        _claim(out, request.identity)
        made_from = {
            "scale": request.identity.scale,
            "recipe": request.identity.recipe,
            "teacher": request.identity.teacher,
        }
        results = Results(out, "pairs", made_from, record=f"{tag}.jsonl", others=".pydegrade-*.jsonl")

        def is_complete(item: Item) -> bool:
            source = image_of[item.name]
            return all(results.is_made(name, source.path, source.key) for name in _files(out, item.name).values())

        pending = [item for item in mine if not is_complete(item)]
        progress = Progress(len(mine), len(mine) - len(pending))
        done = len(mine) - len(pending)

        def make(item: Item) -> Iterable[str]:
            nonlocal done
            source = image_of[item.name]
            with results.reading(source.path):
                decoded = decode(source, request.max_pixels, MemoryBudget())
                images = _made(decoded.array, teacher, request.identity, tile_px)
            for kind, name in _files(out, item.name).items():
                results.write(name, encode_png(images[kind]), source.path, source.key)
            done += 1
            finished(done)
            return decoded.notes

        fates = each(pending, make, progress, items=Items(tuple(mine)))
        if number == 0:
            for reason in request.excluded:
                fates.failed.append(reason)
                fates.total += 1
                progress.say(f"warning: left out: {reason}")
        everything = [Item(name, image.place) for name, image in zip(request.names, request.images)]
        complete = not fates.failed and not fates.interrupted and all(map(is_complete, everything))
        if complete:
            _write_manifest(out, request)
    return WrittenPairs(complete, fates, time.perf_counter() - started_s)


def _check_identity(out: Path, identity: PairsIdentity) -> bool:
    """Whether the folder is one of this run already.

    Raises:
        DataError: it holds another run, or other files.
    """
    path = out / IDENTITY_FILE
    if path.exists():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError):
            raise DataError(f"{path}: not a description of pairs; use another --out") from None
        for name, value in asdict(identity).items():
            if before.get(name) != value:
                raise DataError(
                    f"{out}: holds pairs of another run, {name} is {before.get(name)!r}, got {value!r}; use another --out"
                )
        return True
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise DataError(f"{out}: must be new, empty or a folder of an earlier run, got other files")
    return False


def _claim(out: Path, identity: PairsIdentity) -> None:
    if not _check_identity(out, identity):
        atomic_write_text(out / IDENTITY_FILE, json.dumps(asdict(identity), indent=2) + "\n")


def _files(out: Path, name: str) -> dict[str, str]:
    """Set -> name of the image's file in the output folder; refuses names that lead out of it."""
    return {kind: path_inside(out / kind, f"{name}.png").relative_to(out).as_posix() for kind in SETS}


def _made(
    pixels: NDArray[np.uint8], teacher: nn.Module, identity: PairsIdentity, tile_px: int | None
) -> dict[str, NDArray[np.uint8]]:
    """The four images of one clean image."""
    scale, recipe = identity.scale, identity.recipe
    hr = np.ascontiguousarray(pixels[: pixels.shape[0] // scale * scale, : pixels.shape[1] // scale * scale])
    lr = downscale(hr, scale, recipe)
    sr = upscale_array(teacher, lr, tile_px)
    return {"hr": hr, "lr": lr, "sr_pretrained": sr, "lr_pretrained": downscale(sr, scale, recipe)}


def _write_manifest(out: Path, request: PairsRequest) -> None:
    images = {
        name: {kind: pixels_sha256(read_image(out / file)) for kind, file in _files(out, name).items()}
        for name in request.names
    }
    content = {"format": FORMAT, "version": VERSION, **asdict(request.identity), "files": images}
    text = json.dumps(content, indent=1) + "\n"
    atomic_write_text(out / MANIFEST_FILE, text)


# Reading.


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        identity: teacher, recipe, scale, images.
        files: image name -> set name -> SHA-256 of its pixels.
    """

    identity: PairsIdentity
    files: Mapping[str, Mapping[str, str]]

    def damaged(self, folder: Path) -> Iterator[str]:
        """One line for each file that is missing or has other pixels than the manifest says."""
        for name, kinds in self.files.items():
            for kind, wanted in kinds.items():
                path = path_inside(folder, f"{kind}/{name}.png")
                if not path.exists():
                    yield f"{path}: is missing"
                elif pixels_sha256(read_image(path)) != wanted:
                    yield f"{path}: has other pixels than its manifest says"


def read_manifest(path: Path) -> Manifest:
    """The manifest of a folder of pairs.

    Raises:
        DataError: missing, of another format, or incomplete.
    """
    if path.is_dir():
        path = path / MANIFEST_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(
            f"{path}: must be the manifest of finished pairs (degrade pairs writes it), got nothing"
        ) from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: must be a manifest of degrade pairs, got something else") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise DataError(f"{path}: must be a manifest of degrade pairs, version {VERSION}, got something else")
    try:
        identity = PairsIdentity(**{name: content[name] for name in PairsIdentity.__dataclass_fields__})
        files = content["files"]
    except KeyError as error:
        raise DataError(f"{path}: must name {error}, a manifest of degrade pairs does") from None
    _check_files(path, files)
    return Manifest(identity, files)


def _check_files(path: Path, files: Any) -> None:
    """DataError unless it is {image: {set: SHA-256}}, with names that stay in the manifest's folder."""
    if not isinstance(files, dict):
        raise DataError(f"{path}: files must be a table of images, got {type(files).__name__}")
    for name, kinds in files.items():
        if not isinstance(kinds, dict) or set(kinds) != set(SETS):
            got = display_name(repr(list(kinds) if isinstance(kinds, dict) else kinds)[:120])
            raise DataError(
                f"{path}: every image must name the sets {', '.join(SETS)}, got {got} for {display_name(name[:120])}"
            )
        try:
            path_inside(path.parent / SETS[0], f"{name}.png")
        except ImageError as error:
            raise DataError(one_line(error, 400)) from None


def check_manifest(
    manifest: Manifest, scale: int, recipe: Recipe, teacher: str | None, student: str | None, where: str
) -> None:
    """Refuse pairs that a run cannot learn from.

    Args:
        manifest: of the pairs.
        scale, recipe: of the run.
        teacher: SHA-256 of the weights that the configuration names as the teacher; None: any.
        student: SHA-256 of the weights that the student starts from; None: fresh weights.
        where: what to call the manifest in messages.
    Raises:
        DataError: another scale, recipe or teacher.
        CheckpointError: the student starts from the teacher's weights.
    """
    identity = manifest.identity
    if identity.scale != scale:
        raise DataError(f"{where}: pairs must have the network's scale x{scale}, got x{identity.scale}")
    if identity.recipe != recipe:
        raise DataError(f"{where}: pairs must be made by the recipe {recipe!r}, got {identity.recipe!r}")
    if teacher is not None and identity.teacher != teacher:
        raise DataError(f"{where}: pairs must come from teacher {teacher[:12]}, got those of {identity.teacher[:12]}")
    if student == identity.teacher:
        raise CheckpointError(
            f"{where}: the student must not start from its teacher's weights ({student[:12]}); ECO learns nothing then"
        )

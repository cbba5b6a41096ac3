"""MATLAB's imresize on a file or a tree of images: `degrade resize`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...errors import ImageError
from ...files.formats.table import READABLE_ENDINGS
from ...files.lock import folder_lock
from ...files.memory import MemoryBudget
from ...files.read import MAX_PIXELS, Picture, image_size, open_image
from ...files.write import encode_png
from ...images.imresize import Border, Kernel, imresize
from ...native import binding
from ...shell.images import Fates, Item, Items, check_suffix, each, find_items
from ...shell.outputs import Results, check_file, check_folder, write_file
from ...shell.progress import Progress

RESULT_COPIES = 4
"""Of a result while it is encoded: itself, its filtered rows, and these packed, twice."""


@dataclass(frozen=True)
class ResizeRequest:
    """What `degrade resize` is asked to do.

    Attributes:
        scale: output px per input px.
        kernel, antialias, border: as `imresize`.
        double: resize in double and round once, as MATLAB does after `im2double`; else round after each pass, as it
            does for uint8.
        modcrop: cut images at the bottom and the right to multiples of this many px first; 1 keeps them whole.
        suffix: appended to the names of results, before ".png".
        max_pixels: refuse larger images, and larger results.
    """

    scale: float
    kernel: Kernel = "bicubic"
    antialias: bool = True
    border: Border = "symmetric"
    double: bool = False
    modcrop: int = 1
    suffix: str = ""
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class ResizePlan:
    """Which images, and where their results go.

    Attributes:
        items: images; their names hold the suffix.
        folder: for results.
        file: the result of the only image, where the user named it.
    """

    items: Items
    folder: Path
    file: Path | None = None


@dataclass(frozen=True)
class Resized:
    """What became of the images.

    Attributes:
        fates: of the images.
        kept: images whose results were there.
        per_second: images per second.
    """

    fates: Fates
    kept: int
    per_second: float


def whole_shrinkage(scale: float) -> int:
    """n of a scale 1/n.

    Raises:
        ImageError: the scale is none.
    """
    n = max(round(1 / scale), 1)
    if scale != 1 / n:
        raise ImageError(f"--modcrop: needs a scale of 1/n with a whole n, got {scale:g}")
    return n


def plan_resize(source: Path, out: Path, suffix: str = "") -> ResizePlan:
    """Images of a file or a folder and the names of their results; folders keep their inner structure.

    Raises:
        ImageError: no images, a suffix with a slash.
        OutputError: a place where results must not be written.
    """
    check_suffix(suffix)
    if not source.is_dir() and out.suffix.lower() in READABLE_ENDINGS and not out.is_dir():
        check_file(out, (".png",), "OUT", [source])
        return ResizePlan(Items((Item(out.stem, source),)), out.parent, out)
    check_folder(out, [source], "OUT")
    items = find_items([source], lambda name: (f"{name}{suffix}",))
    named = tuple(Item(f"{item.name}{suffix}", item.path) for item in items.images)
    return ResizePlan(replace(items, images=named), out)


def uneven_images(paths: list[Path], n: int) -> int:
    """How many of the images that can be opened have a side that is no multiple of n."""
    count = 0
    for path in paths:
        try:
            count += any(side % n for side in image_size(path))
        except (ImageError, OSError):
            continue
    return count


def resize_images(plan: ResizePlan, request: ResizeRequest, force: bool = False) -> Resized:
    """Resize images on all threads; results appear under their names only when complete.

    Args:
        plan: which images; a result that the user named is always made, those in a folder where they are missing or
            were made from something else.
        request: how.
        force: make everything again, also over files of another origin.
    Raises:
        OutputError: a result would replace an input or a file of another origin.
    """
    workers = binding.get_num_threads() + 1
    budget = MemoryBudget()
    if plan.file is not None:
        target = plan.file

        def make_one(item: Item) -> Iterable[str]:
            content, notes = _resized(item.path, request, budget)
            write_file(target, content)
            return notes

        progress = Progress(1)
        return Resized(each(plan.items.images, make_one, progress), 0, progress.per_second)

    with folder_lock(plan.folder):
        options = {name: value for name, value in asdict(request).items() if name not in ("max_pixels", "suffix")}
        results = Results(plan.folder, "resize", options, force)
        results.check((f"{item.name}.png" for item in plan.items.images), plan.items.inputs, "OUT")
        pending = [item for item in plan.items.images if not results.is_made(f"{item.name}.png", item.path)]
        kept = len(plan.items.images) - len(pending)

        def make(item: Item) -> Iterable[str]:
            with results.reading(item.path):
                content, notes = _resized(item.path, request, budget)
            results.write(f"{item.name}.png", content, item.path)
            return notes

        progress = Progress(len(plan.items.images), kept)
        fates = each(pending, make, progress, items=plan.items, workers=workers)
    return Resized(fates, kept, progress.per_second)


def _resized(path: Path, request: ResizeRequest, budget: MemoryBudget) -> tuple[bytes, tuple[str, ...]]:
    """The PNG of one resized file, and what had to be converted; gray stays gray and 16 bits stay, as with MATLAB."""
    with open_image(path, request.max_pixels) as file:
        header = file.header
        height, width = (side - side % request.modcrop for side in (header.height, header.width))
        if height * width * request.scale**2 > request.max_pixels:
            limit = f"at most {request.max_pixels:,} pixels (--max-megapixels)"
            raise ImageError(
                f"{path}: the result must have {limit}, got about {height * width * request.scale**2:,.0f}"
            )
        result_bytes = round(header.array_bytes * request.scale**2)
        needed = max(header.decode_bytes, header.array_bytes + RESULT_COPIES * result_bytes)
        with budget.hold(needed, path, header.file_bytes):
            return _encoded(file.decode().opaque(), path, request)


def _encoded(picture: Picture, path: Path, request: ResizeRequest) -> tuple[bytes, tuple[str, ...]]:
    pixels = picture.array
    height, width = (side - side % request.modcrop for side in pixels.shape[:2])
    if height == 0 or width == 0:
        sides = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise ImageError(f"{path}: sides must be at least {request.modcrop} px, got {sides}")
    out = imresize(
        pixels[:height, :width],
        request.scale,
        kernel=request.kernel,
        antialias=request.antialias,
        border=request.border,
        semantics="im2double" if request.double else "class",
    )
    return encode_png(out, picture.profile), picture.notes

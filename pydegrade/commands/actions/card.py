"""Cards made of runs of `degrade sample`, and the images that a card asks for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...errors import CardError, ImageError
from ...files.card import Card, Digests, check_numbered, check_sizes
from ...files.dataset import BUNDLED_ORIGIN, Augment, HrImage, HrImages, find_images
from ...files.lmdb_reader import is_lmdb
from ...files.paths import display_name
from ...files.read import MAX_PIXELS
from ...files.sample_manifest import pair_name, read_run, sha256_of, tables_of
from ...files.verify import digests_of, read_entry
from ...images.metrics import Protocol
from ...native import binding
from ...tasks.task import TaskBatch
from .pairs import kinds_of
from .sample_record import Finished, image_sha256, read_samples
from .sources import CroppedImages, cropped_images
from .tasks import TASKS, load_tasks

PACKAGES = ("pydegrade", "numpy", "torch", "pillow", "isal")


def card_of_run(
    run: Path, hr: Path | None, meta_info: Path | None = None, protocol: str = "", max_pixels: int = MAX_PIXELS
) -> Card:
    """The card of a finished run of `degrade sample`.

    Args:
        run: its folder.
        hr: folder or LMDB of the clean images that it was made from; None: photographs of scikit-image.
        meta_info: list of files of `hr`, as `degrade sample` got it.
        protocol: how models are measured on it.
        max_pixels: limit of a single image.
    Raises:
        CardError, RecordError, ImageError: a run that is not finished, or that was made from other images.
    """
    identity, count, facts = read_run(run)
    where = display_name(run)
    if identity.format == "none":
        raise CardError(f"{where}: holds parameters without images; a card is of pairs")
    if identity.shard:
        raise CardError(f"{where}: holds shard {identity.shard} alone; degrade merge makes a whole run")
    if identity.more or identity.crops > 1:
        raise CardError(
            f"{where}: holds several LR images, or crops, of a sample; a card is of one each (degrade verify "
            "RUN/SHA256SUMS compares such a run)"
        )
    tasks = TaskBatch.load(run / TASKS) if (run / TASKS).is_file() else None
    if tasks is None or len(tasks) != count:
        raise CardError(
            f"{where}: must be a finished run, got {0 if tasks is None else len(tasks)} of {count} samples; the same "
            "`degrade sample` makes the rest"
        )
    if tasks.space.digest != identity.digest:
        raise CardError(f"{where}: run.json and {TASKS} must be of one space, got two")
    check_numbered(tasks, where)
    if hr is None and facts.get("hr") != BUNDLED_ORIGIN:
        raise CardError(f"{where}: was made from images of its own: name their folder, --hr FOLDER")
    if hr is not None and not hr.is_dir():
        raise CardError(f"--hr: a card names the images of a folder or an LMDB, got {display_name(hr)}")
    found = cropped_images(hr, identity.hr_size_px, tasks.space, identity.hr_size_px, max_pixels, meta_info)
    if found.images.digest != identity.hr_digest:
        raise CardError(f"{where}: was made from other images than --hr gives, {found.images.origin}")
    images = dict(zip((one.name for one in found.images.images), _each(image_sha256, found.images.images)))
    if len(images) != len(found.images.images):
        raise CardError(f"{where}: every image must have a name of its own")
    if protocol:
        _check_protocol(protocol, tasks.space.scale)
    augment: Augment = identity.augment  # type: ignore[assignment]
    crops = found.crops(identity.seed, tasks.indices, augment)
    source_of = [list(images.values())[image] for image in crops.image.tolist()]
    files = _files_of_run(run, tasks, identity.format, source_of)
    made = Card(tasks, identity.hr_size_px, augment, identity.format, images, files, _versions(tasks), protocol)
    if made.addresses_digest != identity.addresses:
        raise CardError(f"{where}: run.json and {TASKS} must be of one run, got other tasks")
    return made


def card_of_tasks(
    source: Path,
    hr: Path | None,
    hr_size_px: int | None,
    bundled_px: int,
    augment: Augment = "hflip",
    meta_info: Path | None = None,
    protocol: str = "",
    max_pixels: int = MAX_PIXELS,
) -> Card:
    """The card of a set that is still to be made: it names no files.

    Args:
        source: file of tasks, with one seed and ascending sample numbers.
        hr, meta_info, protocol, max_pixels: as for `card_of_run`.
        hr_size_px, bundled_px: side of the crops, as for `cropped_images`.
        augment: how crops are mirrored.
    Raises:
        CardError, TaskError, ImageError: tasks or images that are none.
    """
    tasks = load_tasks(str(source), None)
    check_numbered(tasks, display_name(source))
    if hr is not None and not hr.is_dir():
        raise CardError(f"--hr: a card names the images of a folder or an LMDB, got {display_name(hr)}")
    if protocol:
        _check_protocol(protocol, tasks.space.scale)
    found = cropped_images(hr, hr_size_px, tasks.space, bundled_px, max_pixels, meta_info)
    check_sizes(tasks, found.side_px, display_name(source))
    images = dict(zip((one.name for one in found.images.images), _each(image_sha256, found.images.images)))
    return Card(tasks, found.side_px, augment, "png", images, {}, _versions(tasks), protocol)


def _check_protocol(name: str, scale: int) -> None:
    """CardError unless `pytrain eval` knows the protocol; without "-borderN" the border is the scale."""
    try:
        Protocol.parse(name if "-border" in name else f"{name}-border{scale}")
    except ValueError as error:
        raise CardError(f"--protocol: {error}") from None


def _files_of_run(run: Path, tasks: TaskBatch, file_format: str, source_of: list[str]) -> dict[str, Digests]:
    """Digests of everything in a run, which must be as it was written."""
    record, kinds = read_samples(run), kinds_of(tasks)

    def of_sample(row: int) -> list[tuple[str, Digests]]:
        index = int(tasks.indices[row])
        names = [pair_name(kind, index, file_format) for kind in kinds]
        contents = [read_entry(run, name) for name in names]
        said = record.get(index)
        if said is None or said != Finished(sha256_of(contents), source_of[row]):
            raise CardError(
                f"{display_name(run)}: sample {index} is not as it was written, or its photograph has changed; the same "
                "`degrade sample` makes it anew"
            )
        return [(name, digests_of(name, content)) for name, content in zip(names, contents)]

    samples = _each(of_sample, range(len(tasks)))
    files = {name: one for position in range(len(kinds)) for name, one in (rows[position] for rows in samples)}
    return files | {name: digests_of(name, read_entry(run, name)) for name in tables_of(run, file_format, kinds)}


def _each(work: Callable, items: Iterable) -> list:  # type: ignore[type-arg]
    with ThreadPoolExecutor(max_workers=binding.get_num_threads() + 1) as pool:
        return list(pool.map(work, items))


def _versions(tasks: TaskBatch) -> dict[str, str]:
    """Of what bits may depend on: libraries that ops run, which are part of the digest, then packages."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its sources
            continue
    for library in tasks.space.libraries:
        name, _, number = library.rpartition(" ")
        found[name or library] = number
    return found


# ---- what a card asks for


def images_of_card(card: Card, hr: Path | None, max_pixels: int = MAX_PIXELS) -> CroppedImages:
    """The clean images that a card names, in its order.

    Args:
        card: from `files.card.read_card`.
        hr: folder or LMDB that holds them; others in it are left alone. None: photographs of scikit-image.
        max_pixels: limit of a single image.
    Raises:
        CardError: one is missing, or has another SHA-256.
    """
    if hr is not None and not hr.is_dir() and not is_lmdb(hr):
        raise CardError(f"--hr: must be the folder or LMDB with the card's images, got {display_name(hr)}")
    found = find_images([] if hr is None else [hr], max_pixels=max_pixels)
    known = {image.name: image for image in found.images}
    missing = [name for name in card.images if name not in known]
    if missing:
        why = next((line for line in found.excluded if display_name(missing[0]) in line), "")
        raise CardError(
            f"{found.origin}: must hold all {len(card.images)} images of the card, {display_name(missing[0])} is missing "
            f"({len(missing)} such)" + (f": {why}" if why else "") + ("; name their folder, --hr" if hr is None else "")
        )
    images = [known[name] for name in card.images]
    other = [one for one, sha256 in zip(images, _each(_sha256_or_none, images)) if sha256 != card.images[one.name]]
    if other:
        raise CardError(
            f"{display_name(other[0].place)}: must have the card's SHA-256 {card.images[other[0].name][:12]}..., got "
            f"another ({len(other)} such)"
        )
    small = [one for one in images if min(one.height, one.width) < card.side_px]
    if small:
        raise CardError(f"{display_name(small[0].place)}: must hold the card's crops of {card.side_px} px")
    return CroppedImages(HrImages(found.origin, tuple(images), ()), card.side_px)


def _sha256_or_none(image: HrImage) -> str:
    try:
        return image_sha256(image)
    except ImageError:
        return ""

"""Every public function of pydegrade with right arguments and with one or two that are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pydegrade
from pydegrade import TaskBatch, kernels, metrics, ops, vectors

from .harness import Case, Failure, short
from .product import ROOT

Call = tuple[Callable[..., Any], list[Any], dict[str, Any]]
PRESETS = tuple(sorted(path.stem for path in (ROOT / "pydegrade" / "spaces").glob("*.toml")))


# ---- right arguments


def _images(case: Case, batch: int | None = None, channels: int = 3, multiple: int = 1) -> torch.Tensor:
    batch = case.random.choice((1, 2, 3)) if batch is None else batch
    height, width = (multiple * case.random.choice((1, 2, 3, 5, 8, 16)) for _ in range(2))
    values = case.numbers.random((batch, channels, height, width), np.float32)
    if case.random.random() < 0.2:
        values = np.rint(values)
    return torch.from_numpy(values)


def _numbers(case: Case, batch: int, low: float, high: float, whole: bool = False, step: int = 1) -> Any:
    """A number or one per row, as any type that is allowed."""

    def one() -> Any:
        return (
            low + step * case.random.randint(0, int((high - low) // step)) if whole else case.random.uniform(low, high)
        )

    kind = case.random.choice(("number", "list", "array", "tensor"))
    if kind == "number":
        return one()
    values = [one() for _ in range(batch)]
    return (
        values
        if kind == "list"
        else np.array(values)
        if kind == "array"
        else torch.tensor(values, dtype=torch.float32 if not whole else None)
    )


def _names(case: Case, batch: int, *names: str) -> Any:
    return (
        case.random.choice(names) if case.random.random() < 0.6 else [case.random.choice(names) for _ in range(batch)]
    )


@cache
def _space(name: str) -> Any:
    return pydegrade.Space.load(name)


def _tasks(case: Case, count: int) -> Any:
    name = case.random.choice(PRESETS)
    return pydegrade.sample(_space(name), case.random.randrange(5), [case.random.randrange(1000) for _ in range(count)])


def _degrade(function: Callable[..., Any], as_list: bool) -> Callable[[Case], Call]:
    def build(case: Case) -> Call:
        count = case.random.choice((1, 2, 3))
        tasks = _tasks(case, count)
        images = _images(case, count, multiple=8 * tasks.space.scale)
        return function, [list(images) if as_list else images, tasks], {}

    return build


def _blur(case: Case) -> Call:
    images = _images(case, channels=case.random.choice((1, 3, 4)))
    batch = len(images)
    if case.random.random() < 0.4:
        side = case.random.choice((1, 3, 5, 21, 51))
        kernel = case.numbers.random((side, side)).astype(np.float32)
        given = case.random.choice((kernel, torch.from_numpy(kernel), np.stack([kernel] * batch), [kernel] * batch))
        return ops.blur, [images, given], {"border": _names(case, batch, "reflect_101", "symmetric")}
    shapes = ("delta", "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc")
    named = {
        "shape": _names(case, batch, *shapes), "size_px": _numbers(case, batch, 1, 51, True, 2),
        "sigma_x_px": _numbers(case, batch, 0, 20), "sigma_y_px": _numbers(case, batch, 0, 20),
        "angle_rad": _numbers(case, batch, -3.1, 3.1), "beta": _numbers(case, batch, 0.05, 16),
        "cutoff_rad": _numbers(case, batch, 0.05, 3.1),
    }  # fmt: skip
    return ops.blur, [images], named


def _jpeg(case: Case) -> Call:
    images = _images(case)
    batch = len(images)
    return ops.jpeg, [images, _numbers(case, batch, 1, 100, True)], {
        "mode": _names(case, batch, "libjpeg", "diffjpeg"), "subsampling": _names(case, batch, "420", "444"),
    }  # fmt: skip


def _noise(case: Case) -> Call:
    images = _images(case)
    batch = len(images)
    return ops.noise, [images, _names(case, batch, "gaussian", "poisson")], {
        "sigma_8bit": _numbers(case, batch, 0, 50), "poisson_gain": _numbers(case, batch, 0.05, 3),
        "gray": case.random.random() < 0.5, "seed": case.random.randrange(9),
        "index": case.random.choice((None, np.arange(batch))),
    }  # fmt: skip


def _rain(case: Case) -> Call:
    images = _images(case)
    batch = len(images)
    return ops.rain, [images, _numbers(case, batch, 0, 5)], {
        "length_px": _numbers(case, batch, 1, 40), "width_px": _numbers(case, batch, 0.5, 3),
        "angle_rad": _numbers(case, batch, -1, 1), "blur_px": _numbers(case, batch, 0.5, 2),
        "brightness": _numbers(case, batch, 0, 1), "seed": 3,
    }  # fmt: skip


def _op_resize(case: Case) -> Call:
    images = _images(case)
    batch = len(images)
    modes = ("torch_area", "torch_bilinear", "torch_bicubic", "cv2_linear", "cv2_cubic", "cv2_area", "matlab_bicubic",
        "matlab_box",
             "matlab_lanczos3", "matlab_nearest")  # fmt: skip
    if case.random.random() < 0.5:
        mode = _names(case, batch, *modes)
        return ops.resize, [images], {"size": (case.random.randint(1, 40), case.random.randint(1, 40)), "mode": mode}
    # One mode: modes round a side of their own way up or down, and a batch has one size.
    return ops.resize, [images], {"resize_factor": case.random.uniform(0.3, 3), "mode": case.random.choice(modes)}


def _sharpen(case: Case) -> Call:
    images = _images(case)
    batch = len(images)
    return ops.sharpen, [images, _numbers(case, batch, 0, 4)], {
        "radius_px": _numbers(case, batch, 1, 50, True), "threshold_8bit": _numbers(case, batch, 0, 100),
    }  # fmt: skip


def _plain(case: Case) -> Call:
    """An op of plain torch or a library, some of its columns given."""
    op = case.random.choice(ops.PLAIN_OPS)
    images = _images(case)
    batch = len(images)
    named: dict[str, Any] = {}
    for column in op.columns:
        if column.choices:
            named[column.name] = _names(case, batch, *column.choices)
        else:
            odd = column.name == "size_px"
            low = 1 if odd else column.low
            of_files = op.files is not None and column.name == op.files.number
            high = 3 if of_files else column.high
            if column.name == "crf":  # of every codec; beyond it the codec decides
                low, high = 1, 51
            # All images of a batch have one size.
            rows = 1 if column.name == "resize_factor" else batch
            named[column.name] = _numbers(case, rows, low, high, column.integer, 2 if odd else 1)
    kept = {name: value for name, value in named.items() if case.random.random() < 0.7}
    files = (
        [] if op.files is None else [[np.full((size, size), 1 / size**2) for size in case.numbers.choice((1, 3, 9), 3)]]
    )
    return getattr(ops, op.name), [images, *files], kept


def _array(case: Case, gray_too: bool = True) -> Any:
    dtype = case.random.choice((np.uint8, np.uint8, np.uint16, np.float32, np.float64))
    shape: tuple[int, ...] = (case.random.randint(1, 30), case.random.randint(1, 30))
    if not gray_too or case.random.random() < 0.7:
        shape = (*shape, case.random.choice((1, 3, 3, 4)) if gray_too else 3)
    values = case.numbers.random(shape)
    if dtype in (np.uint8, np.uint16):
        values = np.rint(values * np.iinfo(dtype).max)
    return values.astype(dtype)


def _imresize(case: Case) -> Call:
    image = _array(case)
    if case.random.random() < 0.3:
        image = _images(case)
    named: dict[str, Any] = {
        "kernel": case.random.choice(("bicubic", "bilinear", "box", "nearest", "lanczos2", "lanczos3"))
    }
    if case.random.random() < 0.5:
        named["scale"] = case.random.choice((0.25, 0.5, 1 / 3, 2, 3.7, (0.5, 2), 1e-3))
    else:
        named["size"] = case.random.choice(((5, 7), (None, 9), (11, None), (1, 1)))
    named |= {"antialias": case.random.random() < 0.7, "border": case.random.choice(("symmetric", "replicate"))}
    return pydegrade.imresize, [image], {**named, "semantics": case.random.choice(("class", "im2double"))}


def _blur_down(case: Case) -> Call:
    scale = case.random.choice((2, 3, 4))
    image = case.numbers.integers(0, 256, (scale * 5, scale * 6, 3)).astype(case.random.choice((np.uint8, np.float64)))
    kernel = kernels.gaussian(case.random.choice((3, 5, 7)), 1.5)
    return pydegrade.blur_down, [image, kernel, scale, case.random.choice(("direct", "bicubic"))], {}


def _estimate(case: Case) -> Call:
    return (
        pydegrade.estimate_kernel,
        [case.numbers.integers(0, 256, (64, 70, 3)).astype(np.uint8), case.random.choice((2, 3, 4))],
        {},
    )


def _metric(function: Callable[..., Any]) -> Callable[[Case], Call]:
    def build(case: Case) -> Call:
        shape = (case.random.randint(15, 30), case.random.randint(15, 30), 3)
        images = [case.numbers.integers(0, 256, shape).astype(np.uint8) for _ in range(2)]
        return function, [*images, case.random.choice(("y-uint8-border2", "rgb-uint8-border0", "y-double-border1"))], {}

    return build


def _kernel(case: Case) -> Call:
    name = case.random.choice(("gaussian", "generalized", "plateau", "sinc"))
    size = case.random.choice((1, 3, 21, 51))
    if name == "sinc":
        return kernels.sinc, [size, case.random.uniform(0.1, 3.1)], {}
    named = {"sigma_y_px": case.random.choice((None, 2.0)), "angle_rad": case.random.uniform(-3, 3)}
    return getattr(kernels, name), [size, case.random.uniform(0.1, 10)], named


def _sample(case: Case) -> Call:
    indices = case.random.choice((range(3), [1, 5], np.arange(4), torch.arange(2), [7], []))
    return pydegrade.sample, [case.random.choice(PRESETS), case.random.randrange(2**63), indices], {}


def _batch_method(case: Case) -> Call:
    tasks = _tasks(case, 3)
    name = case.random.choice(list(tasks.columns)) if tasks.columns else "x.y"
    scheme = next(iter(tasks.space.vectors), None)
    calls: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "replace": ([], {name: tasks.column(name)[0].item() if tasks.columns else 1}), "take": ([[0, 1]], {}),
        "with_noise": ([5], {}), "column": ([name], {}), "labels": ([name], {}), "mask": ([name], {}),
        "raw": ([name], {}), "describe": ([1], {}), "fingerprints": ([], {}), "image_keys": ([], {}),
        **({"vector": ([scheme], {})} if scheme else {}),
    }  # fmt: skip
    method = case.random.choice(list(calls))
    arguments, named = calls[method]
    if method == "replace" and tasks.space.column(name).choices if tasks.columns else False:
        named = {name: tasks.labels(name)[0]}
    return getattr(tasks, method), list(arguments), dict(named)


def _static(case: Case) -> Call:
    tasks = _tasks(case, 2)
    kind = case.random.randrange(4)
    if kind == 0:
        return TaskBatch.from_addresses, [tasks.addresses], {}
    if kind == 1:
        return TaskBatch.concat, [[tasks, tasks]], {}
    if kind == 2:
        return pydegrade.Space.loads, [tasks.space.to_toml()], {}
    return pydegrade.Space.load, [tasks.space.name], {}


def _vectors(case: Case) -> Call:
    vector = case.numbers.random(33).astype(np.float32)
    if case.random.random() < 0.5:
        return vectors.described, [vector], {}
    return vectors.edited, [vector, {"blur1.sigma_x_px": "2.5", "noise1.sigma_8bit": "5"}], {}


def _small(case: Case) -> Call:
    kind = case.random.randrange(4)
    if kind == 0:
        return pydegrade.set_num_threads, [case.random.choice((None, 1))], {}
    if kind == 1:
        return metrics.Protocol.parse, ["y-uint8-border4"], {}
    if kind == 2:
        return kernels.check, [kernels.gaussian(5, 1.0)], {}
    return metrics.Protocol, ["y", 2, "uint8"], {}


BUILDERS: tuple[Callable[[Case], Call], ...] = (
    _degrade(pydegrade.degrade, False), _degrade(pydegrade.degrade_batch, False),
    _degrade(pydegrade.degrade_list, True), _degrade(pydegrade.degrade_pairs, True), _degrade(pydegrade.trace, True),
    _blur, _blur, _jpeg, _noise, _noise, _rain, _op_resize, _op_resize, _sharpen, _imresize, _imresize, _blur_down,
    _plain, _plain,
    _estimate, _metric(pydegrade.psnr), _metric(pydegrade.ssim), _kernel, _sample, _batch_method, _batch_method,
    _static, _vectors, _small,
)  # fmt: skip


# ---- wrong arguments


class _Strange:
    """Answers every question with an error."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __len__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return "strange"


def hostile(case: Case, value: Any) -> Any:
    """Something in the place of a value: of another type, or the same thing spoilt."""
    if isinstance(value, (torch.Tensor, np.ndarray)) and case.random.random() < 0.65:
        return spoilt(case, value)
    if isinstance(value, (list, tuple)) and value and case.random.random() < 0.4:
        changed = list(value)
        changed[case.random.randrange(len(changed))] = hostile(case, changed[0])
        return case.random.choice((changed, tuple(changed), changed[:-1], [*changed, changed[0]], []))
    if isinstance(value, TaskBatch) and len(value) and case.random.random() < 0.6:
        return case.random.choice(
            (value.take([]), value.take([0]), value.take([0, 0, 0, 0]), value.addresses, value.space, [value])
        )
    scalars: tuple[Any, ...] = (
        None, -1, 0, 1, 2, 3, 52, 101, 255, 10**6, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.0, -0.5, 0.5, 2.5,
        1e-320, 1e300, -1e300, float("nan"), float("inf"), float("-inf"), True, False, "", "x", "iso", "nan", "1",
        b"x", "\x1b[31m", "a\nb", 1j, object, object(), _Strange(), Path("x"), lambda: 1, {}, {"a": 1}, {1}, [], [1],
        [[1]], [None], ["x", "y"], (1, 2), (0, 5), (-1, 5), (2**31, 2**31), (1.5, 2.5), range(0), range(10**12),
        range(2**62, 2**62 + 3), range(-3, 0), range(3, 0, -1), np.float32(2), np.float64("nan"), np.int64(3),
        np.int8(-3), np.bool_(True), np.uint64(2**63), np.str_("iso"), np.array(5), np.array("x"), np.array([]),
        np.zeros((2, 0)), np.array([None], object), np.array([1, 2, 3], "M8[s]"), np.arange(7), np.full(3, np.nan),
        np.array([1e30, -1e30, 2]), np.arange(3, dtype=">i4"), torch.tensor(2.0), torch.tensor([]),
        torch.zeros(0, 3, 4, 4), torch.zeros(1, 3, 0, 4), torch.tensor([1, 2, 3]),
        torch.zeros(2, 2, dtype=torch.bool), torch.ones(3, dtype=torch.float16), torch.zeros(3, 4, 4),
        torch.rand(2, 3, 4, 4, dtype=torch.float64), np.ones((4, 4, 3), np.float32), "realesrgan-x4",
        "nothing@0/s0/i0", "../x", "x" * 10000, 1 << 5000,
    )  # fmt: skip
    return case.random.choice(scalars)


def spoilt(case: Case, value: Any) -> Any:
    """The same numbers as something else; None where there is no such thing."""
    try:
        return _spoilt(case, value)
    except (RuntimeError, IndexError, ValueError, TypeError):
        return None


def _spoilt(case: Case, value: Any) -> Any:
    is_tensor = isinstance(value, torch.Tensor)
    tensor = (
        value
        if is_tensor
        else torch.from_numpy(np.ascontiguousarray(value))
        if value.dtype.kind in "fiub" and value.dtype != np.uint16
        else None
    )
    if tensor is None:
        return value.astype(case.random.choice(("f8", "i8", "U5", "?")))
    changes: dict[str, Callable[[], torch.Tensor]] = {
        "double": lambda: tensor.double(), "half": lambda: tensor.half(), "bfloat16": lambda: tensor.bfloat16(),
        "int64": lambda: tensor.long(), "uint8": lambda: tensor.to(torch.uint8), "bool": lambda: tensor.bool(),
        "complex": lambda: tensor.to(torch.complex64), "empty": lambda: tensor[..., :0],
        "no rows": lambda: tensor[:0], "flat": lambda: tensor.reshape(-1), "more": lambda: tensor[None],
        "less": lambda: tensor[0], "scalar": lambda: tensor.sum(), "strided": lambda: tensor[..., ::2],
        "transposed": lambda: tensor.transpose(-1, -2), "expanded": lambda: tensor[:1].expand(3, *tensor.shape[1:]),
        "negative": lambda: -tensor, "large": lambda: tensor * 1e30, "out of range": lambda: tensor + 0.7,
        "requires grad": lambda: tensor.float().requires_grad_(), "meta": lambda: tensor.to("meta"),
        "sparse": lambda: tensor.to_sparse(), "two channels": lambda: tensor[:, :2],
        "rows doubled": lambda: torch.cat([tensor, tensor]),
        "channels last": lambda: tensor.contiguous(memory_format=torch.channels_last),
        "conjugate": lambda: tensor.to(torch.complex64).conj(),
    }  # fmt: skip
    kind = case.random.choice((*changes, "nan", "inf", "-inf", "subclass", "numpy", "list"))
    if kind in ("nan", "inf", "-inf"):
        changed = tensor.clone().float()
        changed.reshape(-1)[case.random.randrange(changed.numel())] = float(kind)
    elif kind == "subclass":
        changed = torch.nn.Parameter(tensor.float(), requires_grad=False)
    elif kind == "numpy":
        return tensor.numpy()
    elif kind == "list":
        return tensor.tolist()
    else:
        changed = changes[kind]()
    if is_tensor or kind in ("meta", "sparse", "requires grad", "conjugate", "bfloat16"):
        return changed
    return changed.detach().numpy()


# ---- the round


def check(case: Case) -> None:
    try:
        _check(case)
    finally:
        pydegrade.set_num_threads(1)


def _check(case: Case) -> None:
    function, arguments, named = case.random.choice(BUILDERS)(case)
    name = getattr(function, "__qualname__", str(function))
    changed = []
    for _ in range(case.random.choice((0, 1, 1, 1, 1, 2))):
        places: list[Any] = [*range(len(arguments)), *named]
        if not places:
            break
        place = case.random.choice(places)
        inside: Any = arguments if isinstance(place, int) else named
        inside[place] = hostile(case, inside[place])
        changed.append(f"{place} = {_shown(inside[place])}")
    case.about(f"{name}({'; '.join(changed) or 'right'})")
    before = _copies([*arguments, *named.values()])
    result = _called(case, function, arguments, named)
    if not _equal(before, _copies([*arguments, *named.values()])):
        raise Failure("wrong", f"{name}: changed its arguments")
    if not changed:
        if isinstance(result, Exception):
            raise Failure("wrong", f"{name}: right arguments are refused: {result}")
        if not _equal(_leaves(result), _leaves(_called(case, function, arguments, named))):
            raise Failure("wrong", f"{name}: the second call gives something else")
    if isinstance(result, Exception):
        return
    case.result_bytes = sum(getattr(leaf, "nbytes", 0) for leaf in _leaves(result))
    if function is pydegrade.set_num_threads:
        # A number that is taken is one that can be worked with.
        case.call(ops.blur, torch.zeros(2, 3, 32, 32), shape="iso")
    if not _finite(_leaves(result)) and _finite(_leaves(before)):
        raise Failure("wrong", f"{name}: NaN or infinity from finite arguments")
    if name.startswith("degrade") and isinstance(arguments[0], torch.Tensor) and not _finite([arguments[0]]):
        raise Failure("wrong", f"{name}: NaN or infinity in the images is taken without a word")


def _called(case: Case, function: Callable[..., Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    try:
        return case.call(function, *arguments, **named)
    except Failure as failure:
        # More memory than there is, asked for in so many words.
        if failure.kind == "memory" or "can't allocate memory" in str(failure):
            return MemoryError()
        raise


def _shown(value: Any) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
    try:
        return short(value, 40)
    except ValueError:
        return f"{type(value).__name__}"


def _leaves(value: Any) -> list[Any]:
    """Arrays and tensors in a result."""
    if isinstance(value, (torch.Tensor, np.ndarray, float)):
        return [value]
    if isinstance(value, TaskBatch):
        return [value.seeds, value.indices, *value.columns.values(), value.program]
    if isinstance(value, (list, tuple)):
        return [leaf for entry in value for leaf in _leaves(entry)]
    if hasattr(value, "__dataclass_fields__"):
        return [leaf for name in value.__dataclass_fields__ for leaf in _leaves(getattr(value, name))]
    return []


def _copies(values: list[Any]) -> list[Any]:
    return [
        leaf.detach().clone() if isinstance(leaf, torch.Tensor) else copy.copy(leaf)
        for value in values
        for leaf in _leaves(value)
    ]


def _equal(first: list[Any], second: list[Any]) -> bool:
    if len(first) != len(second):
        return False
    for one, other in zip(first, second):
        if isinstance(one, torch.Tensor):
            if one.device.type == "meta" or one.layout != torch.strided:
                continue
            if one.shape != other.shape or not torch.equal(
                torch.nan_to_num(one.detach()), torch.nan_to_num(other.detach())
            ):
                return False
        elif isinstance(one, np.ndarray):
            same = one.dtype.kind not in "fiub" or one.tobytes() == other.tobytes()
            if one.shape != other.shape or not same:
                return False
    return True


def _finite(values: list[Any]) -> bool:
    for value in values:
        if isinstance(value, torch.Tensor):
            if (
                value.device.type != "meta"
                and value.layout == torch.strided
                and value.is_floating_point()
                and not bool(torch.isfinite(value).all())
            ):
                return False
        elif isinstance(value, np.ndarray):
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                return False
        elif isinstance(value, float) and value != value:
            return False
    return True

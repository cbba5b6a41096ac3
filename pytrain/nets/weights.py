"""Reading the weights of any model file, without ever running code from it.

Knows containers, prefixes and checksums, and no network: `checkpoint` builds networks from what is read here.
"""

from __future__ import annotations

import json
import re
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from torch import Tensor

from ..errors import CheckpointError, one_line

MODEL_FORMAT = "pytrain-model"
STATE_FORMAT = "pytrain-state"
FORMAT_VERSION = 1

# The one key of a safetensors header, holding JSON, as traiNNer-redux has it. One, because the library writes several
# in random order, and equal weights shall give equal files.
HEADER_KEY = "metadata"

Which = Literal["auto", "ema", "params"]

# Where the weights lie in other tools' files, first match first (spandrel's order, so that both read the same weights).
CONTAINERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")
EMA_CONTAINERS = ("params_ema", "params-ema")

# In front of every key: DataParallel, KAIR's and some GAN trainers' wrapper, torch.compile.
PREFIXES = ("module.", "netG.", "_orig_mod.")

# Counters that averaging wrappers store among the weights.
AVERAGING_KEYS = ("step", "initted", "n_averaged")


@dataclass(frozen=True)
class Weights:
    """What a model file holds: the state dict as the file spells it, and what the file says about it."""

    state: dict[str, Tensor]
    which: str  # the container it came from: "params_ema", "params", ... or "raw"
    metadata: dict[str, Any]  # of files written here; empty for others


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Eight hexadecimal digits over names, types, shapes and bytes of all tensors (CRC-32), and over `text`.

    Finds damage by disks and transfers; it is no protection against someone who forges a file.
    """
    crc = zlib.crc32(text.encode())
    for key in sorted(tensors):
        tensor = tensors[key].detach().to("cpu").contiguous()
        crc = zlib.crc32(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        if tensor.numel():
            crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def is_safetensors(path: Path) -> bool:
    """Whether a file starts like safetensors: eight bytes of header length, then JSON."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if not start:
        raise CheckpointError(f"{path}: empty file")
    return (len(start) == 9 and start[8:9] == b"{") or path.suffix == ".safetensors"


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its header's texts; `CheckpointError` for a damaged one."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: truncated or damaged safetensors file ({one_line(error, 120)})") from None
    return tensors, dict(header)


# What torch's restricted unpickler says about a thing that it will not build, amid advice that would run the code.
REFUSED = re.compile(
    r"GLOBAL:? (\S+) (?:was not an allowed|whose module)|unrecognized function (\S+)"
    r"|Unsupported class (\S+)|class (\S+) which is not"
)


# What other programs run or hold, by the ending.
OTHERS = {
    ".onnx": "an ONNX program, which onnxruntime and chaiNNer run (`pytrain export` makes it from weights)",
    ".engine": "a TensorRT program",
    ".param": "a network for ncnn",
    ".gguf": "weights for ggml",
    ".h5": "weights for Keras",
}


def _read_torch(path: Path) -> Any:
    """A file of torch.save, by the restricted unpickler that builds tensors and containers and calls nothing else."""
    try:
        with warnings.catch_warnings():
            # About pickle protocols and TorchScript, addressed to whoever calls torch.load.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # On damaged bytes the unpickler raises whatever its next instruction stumbles over: any class is possible.
        refused = REFUSED.search(str(error)) if type(error).__name__ == "UnpicklingError" else None
        if refused:
            named = next(group for group in refused.groups() if group)
            raise CheckpointError(
                f"{path}: refused, it holds pickled code or objects ({named}), not only tensors; "
                "ask for a .safetensors file"
            ) from None
        if "TorchScript" in str(error):
            raise CheckpointError(f"{path}: must hold weights, got a TorchScript program") from None
        if path.suffix.lower() in OTHERS:
            got = OTHERS[path.suffix.lower()]
            raise CheckpointError(f"{path}: must be weights for PyTorch (.safetensors, .pth), got {got}") from None
        said = one_line(error).split(". ")[0] if isinstance(error, RuntimeError | OSError) else "unknown contents"
        raise CheckpointError(f"{path}: not a model file, truncated or damaged ({one_line(said, 120)})") from None


def read_metadata(text: object) -> dict[str, Any]:
    """The JSON of a file written here; other tools' metadata is none of ours and gives an empty dictionary."""
    if not isinstance(text, str):
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict) or values.get("format") not in (MODEL_FORMAT, STATE_FORMAT):
        return {}
    return values


def _unwrapped(path: Path, content: Any, which: Which) -> tuple[dict[str, Tensor], str]:
    """The state dict inside what torch.load returned, and the name of its container."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: must hold a dictionary of tensors, got {type(content).__name__}")
    containers = {"auto": CONTAINERS, "ema": EMA_CONTAINERS, "params": ("params",)}[which]
    for name in containers:
        if isinstance(content.get(name), Mapping):
            return _tensors_only(path, content[name]), name
    if "optimizers" in content or "optimizer" in content or "param_groups" in content:
        raise CheckpointError(f"{path}: must be a model, got an optimizer or training state")
    if which != "auto" and any(isinstance(value, Mapping) for value in content.values()):
        raise CheckpointError(f"{path}: must hold {which} weights, got only {', '.join(map(str, content))}")
    if len(content) == 1 and isinstance(next(iter(content.values())), Mapping):
        name, inner = next(iter(content.items()))
        return _tensors_only(path, inner), str(name)
    return _tensors_only(path, content), "raw"


def _tensors_only(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    if not state:
        raise CheckpointError(f"{path}: holds no weights")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: must hold a dictionary of tensors, got {type(value).__name__} at {key!r}")
    return _dense_only(path, dict(state))


def _dense_only(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain tensors of real numbers: weights that a network can take."""
    for key, tensor in state.items():
        what = (
            "complex" if tensor.is_complex()
            else "quantized" if tensor.is_quantized
            else "nested" if tensor.is_nested
            else "sparse" if tensor.layout != torch.strided
            else "without data" if tensor.device.type != "cpu"
            else ""
        )  # fmt: skip
        if what:
            raise CheckpointError(f"{path}: weights must be dense real numbers, {key!r} is {what}")
    return state


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys without the counters of averaging wrappers and without prefixes that all keys share."""
    state = {key: value for key, value in state.items() if key not in AVERAGING_KEYS}
    stripped = True
    while stripped and state:
        stripped = False
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
                stripped = True
    return state


def read_weights(path: str | Path, which: Which = "auto") -> Weights:
    """The state dict of any model file: raw, wrapped in a known container, prefixed; `.safetensors` or torch's own.

    Args:
        path: the file; its kind is told from its first bytes, not from its name.
        which: "ema" or "params" demand that container; "auto" takes the first known one, the averaged weights first.
    Returns:
        Tensors on the CPU under the file's keys, less common prefixes.
    Raises:
        CheckpointError: missing or damaged file, pickled code, a training state, or no weights of that kind.
    """
    path = Path(path)
    if is_safetensors(path):
        tensors, header = read_safetensors(path)
        metadata = read_metadata(header.get(HEADER_KEY))
        if metadata.get("format") == STATE_FORMAT:
            raise CheckpointError(
                f"{path}: must be a model, got a training state; resume from it, or load its model file"
            )
        name = str(metadata.get("weights", "raw"))
        if metadata.get("crc32", None) not in (None, digest(tensors)):
            raise CheckpointError(f"{path}: damaged, its contents do not match its checksum")
        if which != "auto" and name != "raw" and (name in EMA_CONTAINERS) != (which == "ema"):
            raise CheckpointError(f"{path}: must hold {which} weights, got {name}; a .pth file keeps both")
        return Weights(_without_prefixes(_dense_only(path, tensors)), name, metadata)
    content = _read_torch(path)
    metadata = read_metadata(content.get(HEADER_KEY) if isinstance(content, dict) else None)
    state, name = _unwrapped(path, content, which)
    if metadata.get("weights") == name and metadata.get("crc32") not in (None, digest(state)):
        raise CheckpointError(f"{path}: damaged, its contents do not match its checksum")
    return Weights(_without_prefixes(state), name, metadata)

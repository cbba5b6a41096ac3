"""Model files and training states: written atomically, read without ever running code from them.

Model files are `.safetensors` (flat, the architecture as JSON in the header) or `.pth` (a dictionary with `params` and
`params_ema`), under the keys that spandrel, chaiNNer and the BasicSR family expect. Training states are one safetensors
file with everything a resumed run needs. Every file is written next to its place and renamed into it, so a crash or a
full disk leaves the previous file whole.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pydegrade.files import replacing, write_error

from .. import nets
from ..errors import CheckpointError, ConfigError, one_line
from ..nets.weights import (
    FORMAT_VERSION,
    HEADER_KEY,
    MODEL_FORMAT,
    STATE_FORMAT,
    Weights,
    Which,
    digest,
    is_safetensors,
    read_metadata,
    read_safetensors,
    read_weights,
)

__all__ = [
    "LoadedModel",
    "Weights",
    "atomic_write",
    "atomic_write_text",
    "digest",
    "load_into",
    "load_model",
    "load_state",
    "read_weights",
    "save_model",
    "save_state",
    "unfitting",
]


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, in evaluation mode on the CPU."""

    net: nn.Module
    config: Any  # one of the dataclasses in `nets.NETS`
    metadata: dict[str, Any]


def atomic_write(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then put it in the place of `path` in one step (`pydegrade.files.atomic`).

    It is synced before the rename, so `path` is at every moment either the old file or the whole new one, also after a
    power failure.

    Raises:
        OutputError, WriteError: the file cannot be written; what was at `path` is untouched and the temporary file removed.
    """
    try:
        with replacing(path, durable=True) as temporary:
            write(temporary)
    except (RuntimeError, safetensors.SafetensorError) as error:
        # torch's zip writer turns a full disk into a RuntimeError, safetensors into its own class.
        raise write_error(path, _as_os_error(path, error)) from None


def atomic_write_text(path: str | Path, text: str) -> None:
    """`atomic_write` of a UTF-8 text."""
    atomic_write(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _as_os_error(path: str | Path, error: Exception) -> OSError:
    """What a library says about a failed write, as the operating system's error that is behind it."""
    reason = one_line(error)
    with contextlib.suppress(OSError):
        if shutil.disk_usage(Path(path).parent).free < 2**26:
            return OSError(errno.ENOSPC, reason)
    return OSError(0, reason)


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors that share no memory with each other, as the file formats demand."""
    seen: set[int] = set()
    detached: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        value = tensor.detach().to("cpu").contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != value.numel() * value.element_size():
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        detached[key] = value
    return detached


# Training states.


def save_state(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a training state: named tensors and JSON values in one safetensors file, atomically.

    Args:
        path: where; the folder is created.
        tensors: any dtypes, shapes and devices; names are free (`net.generator/conv_first.weight`).
        meta: what JSON can hold: position, digests, loss scale.
    Raises:
        CheckpointError: `meta` is not JSON.
        OutputError, WriteError: the file cannot be written; the previous one is untouched.
    """
    try:
        text = json.dumps(dict(meta), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: meta must be plain JSON values, got {one_line(error)}") from None
    detached = _detached(tensors)
    described = {
        "format": STATE_FORMAT,
        "version": FORMAT_VERSION,
        "crc32": digest(detached, text),
        "meta": text,
    }
    header = {HEADER_KEY: json.dumps(described)}
    atomic_write(path, lambda temporary: safetensors.torch.save_file(detached, temporary, header))


def load_state(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote: tensors on the CPU, bit for bit, and the JSON values.

    Raises:
        CheckpointError: missing, truncated or damaged file, or a file of another kind.
    """
    if not is_safetensors(Path(path)):
        raise CheckpointError(f"{path}: must be a training state of pytrain, got another file")
    tensors, header = read_safetensors(Path(path))
    described = read_metadata(header.get(HEADER_KEY))
    if described.get("format") != STATE_FORMAT:
        kind = "a model" if described.get("format") == MODEL_FORMAT else "another"
        raise CheckpointError(f"{path}: must be a training state of pytrain, got {kind} file")
    if described.get("version") != FORMAT_VERSION:
        found = described.get("version")
        raise CheckpointError(f"{path}: format version must be {FORMAT_VERSION}, got {found}; update pytrain")
    text = str(described.get("meta"))
    if digest(tensors, text) != described.get("crc32"):
        raise CheckpointError(f"{path}: damaged, its contents do not match its checksum")
    meta: dict[str, Any] = json.loads(text)
    return tensors, meta


# Model files.


def save_model(
    path: str | Path,
    config: Any,
    params: nn.Module | Mapping[str, Tensor],
    params_ema: nn.Module | Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model file that this package and the field's tools load, atomically.

    Args:
        path: `.safetensors` holds one set of weights, the averaged one when given; `.pth` holds both.
        config: the network's configuration, stored as JSON together with scale, parameter count and a checksum.
        params: the network or its state dict, under the keys of `nets.build(config)`.
        params_ema: the averaged weights, the same way.
        metadata: further JSON values: digests of space and config, step, scores.
    Raises:
        CheckpointError: unknown suffix, or values that JSON cannot hold.
        OutputError, WriteError: the file cannot be written; the previous one is untouched.
    """
    path = Path(path)
    sets = {"params": _published(config, params)}
    if params_ema is not None:
        sets["params_ema"] = _published(config, params_ema)
    chosen = "params_ema" if params_ema is not None else "params"
    # A network taken from a file states its scale itself; a discriminator has none.
    scale = params.scale if isinstance(params, nn.Module) else getattr(config, "scale", 1)
    described = {
        **(metadata or {}),
        "format": MODEL_FORMAT,
        "version": FORMAT_VERSION,
        "architecture": config.type,
        **({"scale": scale} if scale else {}),
        "net": nets.config_to_dict(config),
        "weights": chosen,
        "num_weights": sum(value.numel() for value in sets["params"].values()),
        "crc32": digest(sets[chosen]),
    }
    try:
        text = json.dumps(described, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: metadata must be plain JSON values, got {one_line(error)}") from None

    if path.suffix == ".safetensors":
        header = {HEADER_KEY: text}
        atomic_write(path, lambda temporary: safetensors.torch.save_file(sets[chosen], temporary, header))
    elif path.suffix == ".pth":
        atomic_write(path, lambda temporary: _save_pth({**sets, "metadata": text}, temporary))
    else:
        raise CheckpointError(f"{path}: a model file must end in .safetensors or .pth, got {path.suffix!r}")


def _save_pth(content: dict[str, Any], path: Path) -> None:
    # An open file, because torch puts the name of a path into the archive.
    with path.open("wb") as file:
        torch.save(content, file)


def _published(config: Any, params: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = params.state_dict() if isinstance(params, nn.Module) else params
    return _detached(nets.published(config, state))


def load_model(path: str | Path, config: Any = None, scale: int | None = None, which: Which = "auto") -> LoadedModel:
    """The network of a model file, rebuilt from what the file says or from its keys and shapes.

    Args:
        path: any file that `read_weights` reads.
        config: the configuration it must have; None finds it. Files of networks that are not in `nets.NETS` are left to
            spandrel where that is installed.
        scale: the super-resolution factor that it must have; None takes any.
        which: see `read_weights`.
    Returns:
        The network on the CPU, float32, in evaluation mode.
    Raises:
        CheckpointError: unreadable file, unknown or other architecture, other scale; the message names the first keys.
    """
    weights = read_weights(path, which)
    found = config if config is not None else _config_of(path, weights)
    if found is None or isinstance(found, nets.SpandrelConfig):
        try:
            wrapped = nets.spandrel_net.from_state(_float32(weights.state), str(path))
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from None
        net: nn.Module = wrapped
        found = nets.SpandrelConfig(
            path=str(path),
            scale=wrapped.scale,
            in_channels=wrapped.in_channels,
            out_channels=wrapped.out_channels,
        )
    else:
        # A fresh network draws weights that are overwritten at once: leave the caller's generator as it was.
        with torch.random.fork_rng(devices=[]):
            net = nets.build(found) if config is not None else _built(found, weights, path)
        load_into(net, found, weights, str(path))
    if scale is not None and net.scale != scale:
        raise CheckpointError(f"{path}: scale must be {scale}, got a {found.type} x{net.scale}")
    return LoadedModel(net.eval(), found, weights.metadata)


def load_into(
    net: nn.Module, config: Any, weights: Weights | str | Path, where: str = "weights", partial: bool = False
) -> None:
    """Put the weights of a model file into a network that exists already, for fine-tuning.

    Args:
        net: what `nets.build(config)` made.
        config: its configuration.
        weights: a path, or what `read_weights` returned (then `where` names it in messages).
        partial: whether tensors that are missing or have another shape stay as they are, and others are passed over; see
            `unfitting` for their names.
    Raises:
        CheckpointError: another architecture, other sizes or another scale, naming the first missing, unexpected and
            misshapen keys; the network is unchanged then.
    """
    if not isinstance(weights, Weights):
        where = str(weights)
        weights = read_weights(weights)
    state = _canonical(config, weights, where)
    own = net.state_dict()
    if partial:
        fresh = unfitting(net, config, weights, where)
        if len(fresh) == len(own):
            raise CheckpointError(f"{where}: no tensor fits {config.type} x{net.scale}{_guess(config, weights)}")
        net.load_state_dict({key: own[key] if key in fresh else state[key] for key in own})
        return
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [key for key in own if key in state and state[key].shape != own[key].shape]
    if missing or unexpected or misshapen:
        problems = [
            f"{kind} {keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
            for kind, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        if misshapen:
            key = misshapen[0]
            problems.append(f"{key} must have shape {tuple(own[key].shape)}, got {tuple(state[key].shape)}")
        raise CheckpointError(
            f"{where}: does not fit {config.type} x{net.scale}{_guess(config, weights)}: {'; '.join(problems)}"
        )
    net.load_state_dict(state)


def unfitting(net: nn.Module, config: Any, weights: Weights, where: str = "weights") -> list[str]:
    """Tensors of a network that a file lacks or has in another shape, in the network's order.

    Args:
        net, config: as `load_into` takes them.
        weights: from `read_weights`.
        where: what to call the file in messages.
    Raises:
        CheckpointError: an architecture whose keys cannot be translated.
    """
    state = _canonical(config, weights, where)
    return [key for key, value in net.state_dict().items() if key not in state or state[key].shape != value.shape]


def _canonical(config: Any, weights: Weights, where: str) -> Mapping[str, Tensor]:
    """The state of a file under the network's names."""
    try:
        return nets.canonical(config, weights.state)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None


def _built(config: Any, weights: Weights, path: str | Path) -> nn.Module:
    """The network that a file states, given up as soon as it is much larger than what the file holds.

    A file of a few bytes may state ten million layers, which would build for minutes before their keys are found not to
    fit.

    Raises:
        CheckpointError: it is larger, or it cannot exist.
    """
    # Spellings differ in how they cut a layer's weights; never by such a factor.
    most_tensors = 4 * len(weights.state) + 64
    most_numbers = 4 * sum(tensor.numel() for tensor in weights.state.values()) + 2**20
    tensors = numbers = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        # Called before the numbers are drawn, which is what would take the time and the memory.
        nonlocal tensors, numbers
        tensors, numbers = tensors + 1, numbers + (0 if parameter is None else parameter.numel())
        if tensors > most_tensors or numbers > most_numbers:
            raise _TooLarge

    hook = register_module_parameter_registration_hook(count)
    try:
        return nets.build(config)
    except _TooLarge:
        raise CheckpointError(f"{path}: states a {config.type} that is larger than the weights it holds") from None
    except (RuntimeError, TypeError, OverflowError, MemoryError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: states a {config.type} that cannot be built ({one_line(error, 120)})") from None
    finally:
        hook.remove()


class _TooLarge(Exception):
    pass


def _config_of(path: str | Path, weights: Weights) -> Any:
    """The configuration that a file states or shows; None when only spandrel may know it."""
    stated = weights.metadata.get("net")
    if isinstance(stated, Mapping):
        # A file of a newer version may state what this one does not know: then the keys decide.
        with contextlib.suppress(ConfigError):
            return nets.config_from_dict(stated)
    try:
        return nets.detect(weights.state)
    except CheckpointError as error:
        if not nets.spandrel_net.is_usable():
            raise CheckpointError(
                f"{path}: {error}; spandrel knows more architectures: pip install 'pydegrade[spandrel]'"
            ) from None
        return None


def _guess(wanted: Any, weights: Weights) -> str:
    """`" (it looks like edsr x2)"`, for the same kind with what differs: `" (... with num_experts 3, not 5)"`."""
    try:
        config = nets.detect(weights.state)
    except CheckpointError:
        return ""
    differing = ""
    if type(config) is type(wanted):
        pairs = [(field.name, getattr(config, field.name), getattr(wanted, field.name)) for field in fields(config)]
        named = [f"{name} {found}, not {expected}" for name, found, expected in pairs if found != expected]
        differing = f" with {', '.join(named)}" if named else ""
    return f" (it looks like {config.type} x{getattr(config, 'scale', 1)}{differing})"


def _float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}

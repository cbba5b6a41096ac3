"""Model files and training states: every container, damage, code in files, full disks, exact round trips."""

import errno
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from pydegrade.errors import OutputError, WriteError
from pytrain import nets
from pytrain.errors import CheckpointError
from pytrain.files import checkpoint
from pytrain.nets import EDSRConfig, SRResNetConfig, SRVGGConfig, build
from pytrain.nets.weights import HEADER_KEY, MODEL_FORMAT

from .small_nets import SMALL

CONFIG = SRResNetConfig(2, 8, 2)


def net_of(config=CONFIG, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(config).eval()


def same(first, second):
    first, second = (x.state_dict() if isinstance(x, torch.nn.Module) else x for x in (first, second))
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def fails(path, message, **options):
    """Loading must raise one clear line that begins with the path."""
    with pytest.raises(CheckpointError, match=message) as raised:
        checkpoint.load_model(path, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert len(text) < len(str(path)) + 300


# What loads.


@pytest.mark.representatives(6)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)
def test_saved_models_come_back_bit_for_bit(tmp_path, suffix, config):
    path = tmp_path / "deeper" / f"model{suffix}"
    live, averaged = net_of(config, 1), net_of(config, 2)
    checkpoint.save_model(path, config, live, averaged, {"step": 7, "digest": "1f3c9a7e"})
    loaded = checkpoint.load_model(path)
    # The residual scale cannot be seen in weights: it comes from the file's JSON.
    assert loaded.config == config
    assert same(loaded.net, averaged)
    assert not loaded.net.training
    assert loaded.metadata["step"] == 7
    assert loaded.metadata["architecture"] == config.type
    assert loaded.metadata["scale"] == loaded.net.scale
    if suffix == ".pth":
        assert same(checkpoint.load_model(path, which="params").net, live)
        assert same(checkpoint.load_model(path, which="ema").net, averaged)
    else:
        fails(path, "must hold params weights, got params_ema; a .pth file keeps both", which="params")
    assert os.listdir(path.parent) == [path.name]


def test_files_look_as_other_tools_expect(tmp_path):
    net = net_of()
    checkpoint.save_model(tmp_path / "a.pth", CONFIG, net, net)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert set(content) == {"params", "params_ema", "metadata"}
    assert same(content["params"], net)
    checkpoint.save_model(tmp_path / "a.safetensors", CONFIG, net.state_dict())
    assert same(safetensors.torch.load_file(tmp_path / "a.safetensors"), net)
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        described = json.loads(file.metadata()["metadata"])
    assert described["net"] == {"type": "srresnet", "scale": 2, "num_features": 8, "num_blocks": 2,
                                "in_channels": 3, "out_channels": 3}  # fmt: skip


CONTAINERS = {
    "raw": lambda state: state,
    "params": lambda state: {"params": state},
    "params_ema": lambda state: {"params_ema": state},
    "params-ema": lambda state: {"params-ema": state, "iter": 3},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "model": lambda state: {"model": state},
    "net": lambda state: {"net": state},
    "one unknown key": lambda state: {"generator": state},
    "DataParallel": lambda state: {"params": {f"module.{key}": value for key, value in state.items()}},
    "KAIR": lambda state: {f"netG.{key}": value for key, value in state.items()},
    "compiled and parallel": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "averaged model": lambda state: {
        "n_averaged": torch.tensor(9),
        **{f"module.{key}": value for key, value in state.items()},
    },
    "ema counters": lambda state: {"params_ema": {**state, "step": torch.tensor(9), "initted": torch.tensor(True)}},
    "half precision": lambda state: {"params": {key: value.half() for key, value in state.items()}},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_loads(tmp_path, name):
    net = net_of()
    if name == "half precision":
        net.load_state_dict({key: value.half().float() for key, value in net.state_dict().items()})
    content = CONTAINERS[name](dict(net.state_dict()))
    torch.save(content, tmp_path / "any.pth")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    # A wrong name does not matter: the first bytes tell the kind.
    for file in ("any.pth", "old.pth"):
        loaded = checkpoint.load_model(tmp_path / file)
        assert loaded.config == CONFIG
        assert loaded.metadata == {}
        assert same(loaded.net, net)
        assert next(loaded.net.parameters()).dtype == torch.float32
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        safetensors.torch.save_file(content, tmp_path / "any.ckpt")
        assert same(checkpoint.load_model(tmp_path / "any.ckpt").net, net)


def test_averaged_weights_come_first(tmp_path):
    live, averaged = net_of(seed=1), net_of(seed=2)
    torch.save({"params": live.state_dict(), "params_ema": averaged.state_dict()}, tmp_path / "both.pth")
    assert same(checkpoint.load_model(tmp_path / "both.pth").net, averaged)
    assert checkpoint.read_weights(tmp_path / "both.pth").which == "params_ema"
    assert same(checkpoint.load_model(tmp_path / "both.pth", which="params").net, live)
    torch.save({"params": live.state_dict()}, tmp_path / "one.pth")
    fails(tmp_path / "one.pth", "must hold ema weights, got only params", which="ema")


def test_loading_leaves_the_global_generator_alone(tmp_path):
    checkpoint.save_model(tmp_path / "a.pth", CONFIG, net_of())
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    checkpoint.load_model(tmp_path / "a.pth")
    assert torch.equal(torch.rand(4), wanted)


def test_a_newer_description_falls_back_on_the_keys(tmp_path):
    net = net_of()
    described = {"format": "pytrain-model", "net": {"type": "srresnet", "scale": 2, "twirl": 3}}
    torch.save({"params": net.state_dict(), "metadata": json.dumps(described)}, tmp_path / "new.pth")
    assert checkpoint.load_model(tmp_path / "new.pth").config == CONFIG
    # Other tools' metadata is none of ours.
    safetensors.torch.save_file(dict(net.state_dict()), tmp_path / "tr.safetensors", {"metadata": '{"arch": "x"}'})
    assert checkpoint.load_model(tmp_path / "tr.safetensors").metadata == {}


def test_fine_tuning_takes_the_weights_of_a_file(tmp_path):
    source, target = net_of(seed=1), net_of(seed=2)
    checkpoint.save_model(tmp_path / "a.safetensors", CONFIG, source)
    checkpoint.load_into(target, CONFIG, tmp_path / "a.safetensors")
    assert same(target, source)


# What does not fit.


def test_another_network_is_named_with_its_first_keys(tmp_path):
    path = tmp_path / "edsr.pth"
    checkpoint.save_model(path, EDSRConfig(2, 8, 2), net_of(EDSRConfig(2, 8, 2)))
    fails(
        path,
        re.escape(
            "does not fit srresnet x2 (it looks like edsr x2): missing upconv1.weight and 3 more; "
            "unexpected conv_after_body.weight and 3 more"
        ),
        config=CONFIG,
    )


def test_other_sizes_are_named_and_change_nothing(tmp_path):
    path = tmp_path / "wide.pth"
    torch.save(net_of(SRResNetConfig(2, 16, 2)).state_dict(), path)
    net = net_of()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    message = (
        "does not fit srresnet x2 (it looks like srresnet x2 with num_features 16, not 8): conv_first.weight must have "
    )
    with pytest.raises(CheckpointError, match=re.escape(message)):
        checkpoint.load_into(net, CONFIG, path)
    assert same(net, before)


def test_another_scale_is_named(tmp_path):
    path = tmp_path / "x2.pth"
    torch.save(net_of().state_dict(), path)
    fails(path, "scale must be 4, got a srresnet x2", scale=4)
    fails(path, re.escape("does not fit srresnet x4 (it looks like srresnet x2 with scale 2, not 4): missing upconv2.w"),
          config=SRResNetConfig(4, 8, 2))  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold a dictionary of tensors, got list"),
        (torch.zeros(2), "must hold a dictionary of tensors, got Tensor"),
        ({}, "holds no weights"),
        ({"params": {}}, "holds no weights"),
        ({"params": {"a": 3}}, "must hold a dictionary of tensors, got int at 'a'"),
        ({"params": {3: torch.zeros(1)}}, "must hold a dictionary of tensors, got Tensor at 3"),
        ({"epoch": 1, "iter": 5, "optimizers": [], "schedulers": []}, "must be a model, got an optimizer or training"),
        ({"state": {}, "param_groups": []}, "must be a model, got an optimizer or training state"),
    ],
)
def test_files_without_weights_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "odd.pth")
    fails(tmp_path / "odd.pth", re.escape(message))


# Code in files.


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {Path(os.environ['EVIL'])}",)


@pytest.mark.parametrize("form", ["torch", "torch old", "pickle 2", "pickle 5", "whole module", "numpy", "torchscript"])
def test_code_in_a_file_is_refused_and_never_run(tmp_path, monkeypatch, form):
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    path = tmp_path / "evil.pth"
    content = {"params": net_of().state_dict(), "note": Evil()}
    message = "refused, it holds pickled code or objects"
    if form.startswith("torch") and form != "torchscript":
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
        message += r" \((posix|nt)\.system\), not only tensors; ask for a \.safetensors file"
    elif form.startswith("pickle"):
        path.write_bytes(pickle.dumps({"params": Evil()}, protocol=int(form[-1])))
        # Torch's files are protocol 2; from others the restricted unpickler knows not even the opcodes.
        message = message if form == "pickle 2" else "not a model file"
    elif form == "whole module":
        torch.save(net_of(), path)
    elif form == "numpy":
        torch.save({"params": {"a": np.zeros(3)}}, path)
    else:
        traced = torch.jit.trace(net_of(), torch.zeros(1, 3, 8, 8))
        torch.jit.save(traced, path)
        message = "must hold weights, got a TorchScript program"
    fails(path, message)
    assert not (tmp_path / "ran").exists()


# Damage.


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncation_anywhere_is_one_line(tmp_path, suffix):
    checkpoint.save_model(tmp_path / f"a{suffix}", CONFIG, net_of())
    content = (tmp_path / f"a{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        fails(path, "truncated|damaged|empty file")


def test_old_torch_files_truncated_too(tmp_path):
    torch.save(net_of().state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pth").read_bytes()
    for length in (10, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        fails(tmp_path / "cut.pth", "truncated or damaged")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_flipped_bit_in_the_weights_is_found(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    net = net_of()
    checkpoint.save_model(path, CONFIG, net)
    content = bytearray(path.read_bytes())
    # Find the weights by their bytes, as the two formats put them elsewhere.
    place = content.find(net.conv_hr.weight.detach().numpy().tobytes())
    assert place > 0
    content[place + 5] ^= 1
    path.write_bytes(content)
    fails(path, "damaged, its contents do not match its checksum|truncated or damaged")


@pytest.mark.parametrize(
    "content", [b"hello world, this is no model", b"\x80\x02.", b"\0" * 64, b"PK\x03\x04" + b"\1" * 60]
)
def test_garbage_is_one_line(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    fails(tmp_path / "a.pth", "not a model file, truncated or damaged|must hold a dictionary")
    (tmp_path / "a.safetensors").write_bytes(content)
    fails(tmp_path / "a.safetensors", "truncated or damaged safetensors file")


def test_an_onnx_file_is_called_so(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch:\x00")
    fails(tmp_path / "a.onnx", r"must be weights for PyTorch \(.safetensors, .pth\), got an ONNX program")


def stating(path: Path, net: object, state: dict[str, torch.Tensor] | None = None) -> Path:
    """A file that states a network."""
    text = net if isinstance(net, str) else json.dumps({"format": MODEL_FORMAT, "net": net})
    safetensors.torch.save_file(state or net_of().state_dict(), path, {HEADER_KEY: text})
    return path


@pytest.mark.parametrize(
    "net",
    [
        {"type": "srresnet", "num_blocks": 1024},
        {"type": "srresnet", "num_features": 4096, "num_blocks": 1024},
        {"type": "rcan", "num_groups": 32, "num_blocks": 32},
        {"type": "swinir", "depths": [64] * 4, "num_heads": [6] * 4},
        {"type": "srvgg", "num_convs": 1024},
        {"type": "ipt", "num_features": 4096, "num_layers": 128},
        {"type": "dasr", "num_experts": 64, "num_features": 4096},
        {"type": "rrdbnet", "num_blocks": 128},
        {"type": "edsr", "num_blocks": 1024},
        {"type": "mzsr", "num_layers": 1024},
    ],
)
def test_a_network_much_larger_than_its_file_is_not_built(tmp_path, net):
    message = r"states a \w+ that is larger than the weights it holds|states a \w+ that cannot be built"
    fails(stating(tmp_path / "huge.safetensors", net), message)
    # What no network may have is no statement of this version: the keys decide.
    beyond = {key: value if key == "type" else 10**9 for key, value in net.items()}
    assert checkpoint.load_model(stating(tmp_path / "beyond.safetensors", beyond)).config == CONFIG


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 3000 + "1" + "}" * 3000, "9" * 5000, '{"format": "pytrain-model"']
)
def test_metadata_that_nobody_can_read_is_none(tmp_path, text):
    assert checkpoint.load_model(stating(tmp_path / "a.safetensors", text)).config == CONFIG


def test_a_file_that_states_another_network_is_named(tmp_path):
    fails(
        stating(tmp_path / "a.safetensors", {"type": "dasr"}),
        "a.safetensors: states a dasr that is larger|a.safetensors: experts",
    )


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.zeros(3, 3, dtype=torch.complex64), "complex"),
        (torch.zeros(3, 3).to_sparse(), "sparse"),
        (torch.zeros(3, 3, device="meta"), "without data"),
        (torch.quantize_per_tensor(torch.zeros(3, 3), 0.1, 0, torch.quint8), "quantized"),
    ],
)
def test_weights_are_dense_real_numbers(tmp_path, tensor, what):
    torch.save({**net_of().state_dict(), "conv_first.bias": tensor}, tmp_path / "odd.pth")
    fails(tmp_path / "odd.pth", rf"weights must be dense real numbers, 'conv_first.bias' is {what}|refused, it holds")


def test_missing_and_folder(tmp_path):
    fails(tmp_path / "none.pth", "no such file")
    fails(tmp_path / "none.safetensors", "no such file")
    fails(tmp_path, "cannot be read")


# Training states.


def state_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(6, generator=generator)
    return {
        "net/weight": torch.randn(3, 4, 5, generator=generator),
        "net/transposed": torch.randn(3, 4, generator=generator).T,
        "ema/half": torch.randn(7, generator=generator).bfloat16(),
        "moments/step": torch.tensor(17.0),
        "moments/double": torch.randn(2, dtype=torch.float64, generator=generator),
        "rng": torch.get_rng_state(),
        "flags": torch.tensor([True, False]),
        "index": torch.tensor([2**62, -1]),
        "empty": torch.zeros(0, 3),
        "shared": shared,
        "shared slice": shared[2:4],
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def test_state_comes_back_bit_for_bit(tmp_path):
    state, meta = state_of(), {"step": 12, "loss_scale": 65536.0, "nets": ["generator"], "digest": None, "ü": "ß"}
    checkpoint.save_state(tmp_path / "run" / "state.safetensors", state, meta)
    tensors, read = checkpoint.load_state(tmp_path / "run" / "state.safetensors")
    assert read == meta
    assert set(tensors) == set(state)
    for key, value in state.items():
        assert tensors[key].dtype == value.dtype
        assert tensors[key].shape == value.shape
        assert torch.equal(bits(tensors[key]), bits(value)), key


@pytest.mark.parametrize("kind", ["state", ".pth", ".safetensors"])
def test_equal_weights_give_equal_files(tmp_path, kind):
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"file{kind}"
        if kind == "state":
            checkpoint.save_state(path, state_of(), {"step": 1, "seed": 2})
        else:
            checkpoint.save_model(path, CONFIG, net_of(), net_of(seed=1), {"step": 1})
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def state_fails(path, message):
    with pytest.raises(CheckpointError, match=message) as raised:
        checkpoint.load_state(path)
    assert "\n" not in str(raised.value)


def test_damaged_states_are_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    checkpoint.save_state(path, state_of(), {"step": 12})
    content = path.read_bytes()
    for length in (0, 5, 200, len(content) - 1):
        path.write_bytes(content[:length])
        state_fails(path, "truncated or damaged|empty")
    # One bit, in the data and in the position.
    for place in (len(content) - 3, content.find(b": 12") + 3):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        state_fails(path, "do not match its checksum")
    state_fails(tmp_path / "none", "no such file")


def test_state_and_model_are_not_mistaken_for_each_other(tmp_path):
    checkpoint.save_state(tmp_path / "state.safetensors", net_of().state_dict(), {})
    fails(tmp_path / "state.safetensors", "must be a model, got a training state")
    checkpoint.save_model(tmp_path / "model.safetensors", CONFIG, net_of())
    state_fails(tmp_path / "model.safetensors", "must be a training state of pytrain, got a model file")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    state_fails(tmp_path / "other.safetensors", "got another file")
    safetensors.torch.save_file(
        {}, tmp_path / "v.safetensors", {"metadata": '{"format": "pytrain-state", "version": 9}'}
    )
    state_fails(tmp_path / "v.safetensors", "format version must be 1, got 9; update pytrain")


# Writing.


def test_values_that_json_cannot_hold_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="meta must be plain JSON values"):
        checkpoint.save_state(tmp_path / "a", {}, {"net": net_of()})
    with pytest.raises(CheckpointError, match="meta must be plain JSON values"):
        checkpoint.save_state(tmp_path / "a", {}, {"loss": float("nan")})
    with pytest.raises(CheckpointError, match="metadata must be plain JSON values"):
        checkpoint.save_model(tmp_path / "a.pth", CONFIG, net_of(), metadata={"path": tmp_path})
    with pytest.raises(CheckpointError, match=re.escape("must end in .safetensors or .pth, got '.bin'")):
        checkpoint.save_model(tmp_path / "a.bin", CONFIG, net_of())
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["state", ".pth", ".safetensors"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, kind):
    """The size limit of a process stands in for the disk: writes beyond it fail half way."""
    pytest.importorskip("resource")
    program = f"""
import resource, signal, sys, torch
from pytrain import nets
from pytrain.files import checkpoint
from pydegrade.errors import WriteError
config = nets.SRVGGConfig(2, 16, 2)
net = nets.build(config)
def save(value):
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, value)
    if {kind!r} == "state":
        checkpoint.save_state("file", net.state_dict(), {{"step": value}})
    else:
        checkpoint.save_model("file" + {kind!r}, config, net)
save(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
try:
    save(2)
except WriteError as error:
    print(error)
"""
    root = Path(checkpoint.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"file\S* ?: cannot be written \(.+\); what was saved there before is untouched\n", done.stdout
    ), done.stdout
    name = "file" if kind == "state" else f"file{kind}"
    assert os.listdir(tmp_path) == [name]
    if kind == "state":
        tensors, meta = checkpoint.load_state(tmp_path / name)
        assert meta == {"step": 1}
    else:
        tensors = checkpoint.load_model(tmp_path / name).net.state_dict()
    assert all(bool((value == 1).all()) for value in tensors.values())


def test_the_message_of_a_full_disk_says_how_much_is_free(tmp_path, monkeypatch):
    checkpoint.save_state(tmp_path / "state", {"a": torch.zeros(1)}, {"step": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = (
        r"state: cannot be written \(No space left on device, [\d.]+ MB free\); what was saved there before is unt"
    )
    with pytest.raises(WriteError, match=message):
        checkpoint.save_state(tmp_path / "state", {"a": torch.ones(1)}, {"step": 2})
    monkeypatch.undo()
    assert checkpoint.load_state(tmp_path / "state")[1] == {"step": 1}
    assert os.listdir(tmp_path) == ["state"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint.save_model(tmp_path / "file" / "a.pth", SRVGGConfig(1, 4, 1), net_of(SRVGGConfig(1, 4, 1)))


def test_interrupted_writes_leave_no_file(tmp_path):
    def stopped(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.atomic_write(tmp_path / "a", stopped)
    assert os.listdir(tmp_path) == []


def test_every_network_survives_its_file(tmp_path):
    for name in ("rcan", "rrdbnet", "srvgg"):
        small = {"rcan": {"num_groups": 1, "num_blocks": 1}, "rrdbnet": {"num_blocks": 1, "growth": 4}, "srvgg": {}}
        config = nets.config_from_dict({"type": name, "scale": 2, "num_features": 16, **small[name]})
        net = net_of(config)
        checkpoint.save_model(tmp_path / f"{name}.pth", config, net)
        loaded = checkpoint.load_model(tmp_path / f"{name}.pth", scale=2)
        assert loaded.config == config
        assert same(loaded.net, net)

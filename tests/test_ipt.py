"""Method ipt: one task per step, inputs of one size, the contrastive term, fine-tuning, sets and inference per task."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pydegrade.files.read import read_image
from pydegrade.files.write import write_image
from pytrain import nets
from pytrain.commands import cli
from pytrain.config.config import loads
from pytrain.data.batch import Batch
from pytrain.data.source import open_source, stream
from pytrain.errors import CheckpointError, ConfigError
from pytrain.evaluation.evaluate import evaluate
from pytrain.evaluation.sets import open_sets
from pytrain.files.checkpoint import load_state, save_model
from pytrain.methods.contract import Setup, Terms
from pytrain.methods.ipt import IptMethod, IptOptions
from pytrain.training import loop, memory
from pytrain.training.degrade import assemble, to_float
from pytrain.training.opening import build_method, fresh_nets
from pytrain.training.slices import is_separable
from pytrain.training.state import saved_states

TASKS = ("sr-x2", "sr-x3", "denoise-30", "derain")
NET = nets.IPTConfig(TASKS, (2, 3, 1, 1), num_features=4, patch_px=12, token_px=3, num_heads=2, num_layers=1)


def method_of(net: nets.IPTConfig = NET, batch: int = 4, crop_px: int = 36, **options: object) -> IptMethod:
    return IptMethod(IptOptions(**options), Setup(net, seed=3, crop_px=crop_px, batch=batch, steps=10))


def configuration(out, *overrides: str):
    text = f"""
        [run]
        name = "ipt"
        out = "{out}"
        steps = 8
        seed = 3
        device = "cpu"
        [net]
        type = "ipt"
        tasks = ["sr-x2", "sr-x3", "denoise-30", "derain"]
        scales = [2, 3, 1, 1]
        num_features = 4
        patch_px = 12
        num_heads = 2
        num_layers = 1
        [method]
        type = "ipt"
        [data]
        crop_px = 36
        batch = 4
        [train]
        precision = "fp32"
        threads = 1
        [evaluate]
        every_steps = 1000
        [checkpoint]
        every_steps = 100
    """
    return loads(text, overrides)


def first_step(method: IptMethod, task: str) -> int:
    return next(step for step in range(200) if method.task_of(step) == task)


def test_a_steps_task_follows_from_its_number_and_all_are_equally_likely():
    method = method_of()
    tasks = [method.task_of(step) for step in range(300)]
    assert tasks[:50] == [method_of().task_of(step) for step in range(50)]
    for task in TASKS:
        # Binomial, 300 draws of 1/4: deviation 7.5, five of them.
        assert abs(tasks.count(task) - 75) < 38
    assert {method_of(finetune="derain", crop_px=12).task_of(step) for step in range(50)} == {"derain"}


def test_every_task_has_inputs_of_one_size_from_the_corner_of_the_crop(tmp_path):
    config = configuration(tmp_path)
    method = build_method(config)
    source = open_source(config.data, method.images, 2, config.run.seed)
    for task, scale, space in zip(
        TASKS, NET.scales, ("bicubic-x2", "bicubic-x3", "ipt-denoise-30", "ipt-derain-light")
    ):
        step = first_step(method, task)
        (raw,) = list(stream(source, range(step, step + 1), 0, 1))
        batch = assemble(method, raw, torch.device("cpu"))
        assert batch.lr.shape == (4, 3, 12, 12)
        assert batch.target.shape == (4, 3, 12 * scale, 12 * scale)
        assert torch.equal(batch.hr, to_float(raw.images["hr"])[..., : 12 * scale, : 12 * scale])
        assert batch.tasks.space.name == space


def random_batch(method: IptMethod, step: int, rows: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    side = method.hr_side_px(step)
    lr, hr = (torch.rand(rows, 3, px, px, generator=generator) for px in (12, side))
    return Batch(np.arange(rows), lr, hr, hr, None)


def detached(terms: Terms) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in terms.losses.items()}


def cosine_loss(tokens_BNE: np.ndarray) -> float:
    """IPT's equation 5 in float64, written as the sums of the paper."""
    unit = tokens_BNE / np.linalg.norm(tokens_BNE, axis=2, keepdims=True)
    images, tokens, _ = unit.shape
    total = 0.0
    for j in range(images):
        for first in range(tokens):
            for second in range(tokens):
                others = sum(math.exp(unit[j, first] @ unit[k, second]) for k in range(images) if k != j)
                total -= math.log(math.exp(unit[j, first] @ unit[j, second]) / others)
    return total / (images * tokens**2)


def test_the_loss_is_l1_in_8_bit_steps_and_a_tenth_of_the_contrastive_term():
    method = method_of(contrastive_tokens=4)
    torch.manual_seed(0)
    net = method.nets()["generator"]
    step = first_step(method, "sr-x3")
    batch = random_batch(method, step)
    terms = detached(method.loss({"generator": net}, batch, step))
    with torch.no_grad():
        out, tokens = net(batch.lr, "sr-x3", with_tokens=True)
    wanted = float((out.double() * 255 - batch.target.double() * 255).abs().mean())
    assert float(terms["l1"]) == pytest.approx(wanted, rel=1e-5)  # float32 sums
    chosen = tokens[:, [0, 4, 8, 12]].double().numpy()
    assert float(terms["contrastive"]) == pytest.approx(0.1 * cosine_loss(chosen), rel=1e-5)
    # Sets of two: the mean of both.
    pairs = method_of(contrastive_tokens=4, contrastive_images=2)
    terms = detached(pairs.loss({"generator": net}, batch, step))
    wanted = (cosine_loss(chosen[:2]) + cosine_loss(chosen[2:])) / 2
    assert float(terms["contrastive"]) == pytest.approx(0.1 * wanted, rel=1e-4, abs=1e-6)  # log 1 cancels: small sums
    for options in ({"contrastive": "off"}, {"contrastive_weight": 0.0}, {"finetune": "sr-x3"}):
        assert set(method_of(**options).loss({"generator": net}, batch, step).losses) == {"l1"}
    released = detached(method_of(contrastive="released").loss({"generator": net}, batch, step))
    assert float(released["contrastive"]) != pytest.approx(float(terms["contrastive"]), rel=0.01)


def test_batches_are_cut_between_images_that_are_compared():
    torch.manual_seed(0)
    method = method_of(contrastive_images=2)
    net = method.nets()
    step = first_step(method, "derain")
    batch = random_batch(method, step)

    def gradient(parts: list[Batch]) -> torch.Tensor:
        net["generator"].zero_grad()
        for part in parts:
            (sum(method.loss(net, part, step).losses.values()) * len(part) / 4).backward()
        return torch.cat([p.grad.flatten() for p in net["generator"].parameters() if p.grad is not None])

    halves = [batch.take(slice(0, 2)), batch.take(slice(2, 4))]
    # float32 sums in another order, of a loss in 8-bit steps.
    torch.testing.assert_close(gradient(halves), gradient([batch]), rtol=1e-3, atol=1e-3)
    with pytest.raises(ConfigError, match="must be sets of 2 images, which are compared with each other, got 3"):
        method.loss(net, batch.take(slice(0, 3)), step)
    assert not is_separable(method, net, batch)
    plain = method_of(contrastive="off")
    assert is_separable(plain, net, random_batch(plain, 0))


@pytest.mark.slow
def test_only_the_tasks_own_head_and_tail_move(tmp_path):
    config = configuration(tmp_path, "method.finetune=denoise-30", "data.crop_px=12", "run.steps=3")
    before = fresh_nets(config, build_method(config), torch.device("cpu"))["generator"].state_dict()
    loop.fit(config)
    state = load_state(saved_states(tmp_path / "states")[0][1])[0]
    number = TASKS.index("denoise-30")
    for key, value in before.items():
        after = state[f"net.generator/{key}"]
        if key.startswith(("head.", "tail.")) and not key.startswith((f"head.{number}.", f"tail.{number}.")):
            assert torch.equal(after, value), key
            assert not any(name.startswith(f"optimizer.generator/generator.{key}/") for name in state)
        elif key == "body.query_embed.weight":
            moved = (after != value).any(dim=1)
            assert moved.tolist() == [task == number for task in range(4)]
        elif not key.startswith(("sub_mean", "add_mean")):
            assert not torch.equal(after, value), key


@pytest.mark.slow
@pytest.mark.parametrize("change", [(), ("method.finetune=sr-x3",)])
def test_ipt_resumes_bit_for_bit(tmp_path, change):
    loop.fit(configuration(tmp_path / "whole", *change))
    loop.fit(configuration(tmp_path / "parts", "checkpoint.every_steps=3", *change))
    for step, path in saved_states(tmp_path / "parts" / "states"):
        if step > 3:
            path.unlink()
    loop.fit(configuration(tmp_path / "parts", *change), resume="auto")
    whole, parts = (load_state(saved_states(tmp_path / name / "states")[0][1])[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


SETS = """evaluate.sets=[
    {name="two", task="sr-x2", crop_px=48, images=["rocket.jpg"]},
    {name="three", task="sr-x3", crop_px=48, images=["rocket.jpg"]},
    {name="noise", task="denoise-30", space="ipt-denoise-30", crop_px=48, images=["rocket.jpg"]}]""".replace("\n", "")


@pytest.mark.slow
def test_sets_use_the_network_of_their_task(tmp_path):
    config = configuration(tmp_path, SETS, "data.exclude=['rocket.jpg']", "run.steps=2")
    result = loop.fit(config)
    assert set(result.scores) == {f"{name}/{kind}" for name in ("two", "three", "noise") for kind in ("psnr", "ssim")}
    sets = open_sets(config.evaluate, 2, nets.task_scales(config.net))
    assert [one.scale for one in sets] == [2, 3, 1]
    torch.manual_seed(1)
    net = nets.build(NET)
    both = evaluate(net, sets, config.evaluate).scores
    # Each number is that of the task's network alone.
    for one, task in zip(sets, ("sr-x2", "sr-x3", "denoise-30")):
        plain = replace(one, config=replace(one.config, task=""))
        alone = evaluate(net.one_task(task), [plain], config.evaluate).scores
        assert alone == {key: value for key, value in both.items() if key.startswith(f"{one.name}/")}
    assert len(set(both.values())) == 6
    with pytest.raises(ConfigError, match=r"evaluate\.sets \(two\): task must be one of a, b, got 'sr-x2'"):
        open_sets(config.evaluate, 2, {"a": 1, "b": 2})
    with pytest.raises(ConfigError, match=r"task must be empty, this network has no tasks, got 'sr-x2'"):
        open_sets(config.evaluate, 2)
    other = nets.build(nets.SRResNetConfig(scale=2, num_features=4, num_blocks=1))
    with pytest.raises(ConfigError, match="a set of task 'sr-x2' must meet a network of several tasks, got SRResNet"):
        evaluate(other, sets, config.evaluate)


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main([*map(str, arguments), "--device", "cpu"])
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_infer_runs_one_task(tmp_path, capsys):
    torch.manual_seed(0)
    net = nets.build(NET)
    save_model(tmp_path / "four.safetensors", NET, net)
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    write_image(tmp_path / "photo.png", pixels)
    common = ("infer", tmp_path / "photo.png", "--model", tmp_path / "four.safetensors", "--out")
    for task, scale in (("sr-x3", 3), ("denoise-30", 1)):
        code, out, err = run(capsys, *common, tmp_path / task, "--task", task)
        assert code == 0, err
        assert f"ipt x{scale}" in out
        assert read_image(tmp_path / task / "photo.png").shape == (17 * scale, 23 * scale, 3)
    assert (read_image(tmp_path / "denoise-30" / "photo.png") != pixels).any()
    code, _, err = run(capsys, *common, tmp_path / "x", "--task", "denoise-40")
    assert (code, "task must be one of sr-x2, sr-x3, denoise-30, derain, got 'denoise-40'" in err) == (2, True), err
    code, _, err = run(capsys, *common, tmp_path / "x")
    assert (code, "--task: must be one of sr-x2, sr-x3, denoise-30, derain" in err) == (2, True), err
    other = nets.SRResNetConfig(scale=2, num_features=4, num_blocks=1)
    save_model(tmp_path / "plain.safetensors", other, nets.build(other))
    code, _, err = run(capsys, "infer", tmp_path / "photo.png", "--model", tmp_path / "plain.safetensors", "--out",
                       tmp_path / "x", "--task", "sr-x2")  # fmt: skip
    assert (code, "--task: must be left out" in err) == (2, True), err


def test_what_does_not_fit_is_refused(tmp_path):
    for change, message in (
        ("method.finetune=sr-x4", r"method\.finetune must be one of net\.tasks \(sr-x2, .*\), got 'sr-x4'"),
        ("data.crop_px=48", r"data\.crop_px must be net\.patch_px times the largest scale that is trained, 36, got 48"),
        ("net.tasks=['sr-x2','sr-x3','denoise-31','derain']", r"net\.tasks: 'denoise-31' names no degradation"),
        ("method.contrastive_images=3", r"method\.contrastive_images must be a divisor of data\.batch 4, .*got 3"),
        ("data.batch=1", r"method\.contrastive_images must be a divisor of data\.batch 1, at least 2, got 1"),
        ("method.spaces={derain='bicubic-x2'}", r"method\.spaces\.derain must have the network's scale x1, got"),
        ("method.spaces={derain='nothing'}", r"method\.spaces\.derain: "),
        ("net={type='srresnet',scale=2}", r"net\.type must be 'ipt' for method ipt, got 'srresnet'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_method(configuration(tmp_path, change))
    with pytest.raises(ConfigError, match=r"train\.accumulate must divide the 1 groups of 4 samples"):
        loop.fit(configuration(tmp_path / "run", "train.accumulate=2"))
    with pytest.raises(ConfigError, match=r"method\.contrastive_images must be 0 or >= 2, got 1"):
        IptOptions(contrastive_images=1)


def test_models_with_other_heads_are_refused(tmp_path):
    one = nets.IPTConfig(("sr-x2",), (2,), num_features=4, patch_px=12, token_px=3, num_heads=2, num_layers=1)
    save_model(tmp_path / "one.safetensors", one, nets.build(one))
    with pytest.raises(CheckpointError, match=r"one\.safetensors: does not fit ipt x2.*missing head\.1\.0\.weight"):
        loop.fit(configuration(tmp_path / "run", f"train.pretrained={tmp_path}/one.safetensors"))


def test_the_memory_of_a_step_is_known(tmp_path):
    config = configuration(tmp_path)
    method = build_method(config)
    found = memory.estimate(config, method, method.nets())
    assert found.activations
    assert found.slice_images == 4

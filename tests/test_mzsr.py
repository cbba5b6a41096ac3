"""Method mzsr: the gradient through the inner steps, the query weights, one kernel per group, resuming."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade import kernels
from pydegrade.files.write import write_image
from pytrain import nets
from pytrain.config.config import loads
from pytrain.data.batch import Batch
from pytrain.errors import ConfigError, DataError
from pytrain.evaluation import adapt as adapting
from pytrain.files.checkpoint import load_model, load_state
from pytrain.methods.contract import Setup
from pytrain.methods.mzsr import MzsrMethod, MzsrOptions, step_shares
from pytrain.training import loop
from pytrain.training.opening import build_method
from pytrain.training.slices import is_separable
from pytrain.training.state import saved_states

NET = nets.MZSRConfig(num_features=2, num_layers=2)


def method_of(batch: int = 8, crop_px: int = 8, **options: object) -> MzsrMethod:
    chosen = {"tasks": 2, "inner_steps": 3, "inner_rate": 0.05, **options}
    method = MzsrMethod(MzsrOptions(**chosen), Setup(NET, seed=3, crop_px=crop_px, batch=batch, steps=10))
    # Smooth, and in float64 where the images are.
    method.pixel_loss = torch.nn.functional.mse_loss
    return method


def prepared(rows: int = 8, first: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(1)
    enlarged, target = (torch.rand(rows, 3, 8, 8, generator=generator, dtype=dtype) for _ in range(2))
    lr = enlarged[..., ::2, ::2]
    return Batch(np.arange(first, first + rows), lr, target, target, None, {"enlarged": enlarged})


def toy(dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    torch.manual_seed(0)
    net = nets.build(NET).to(dtype)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                # Away from the ReLU's kink, where differences of finite size would see both sides.
                parameter.fill_(0.3)
    return net


def total_loss(method: MzsrMethod, net: torch.nn.Module, batch: Batch) -> torch.Tensor:
    return method.loss({"generator": net}, batch, 0).losses["query"]


def gradient_of(method: MzsrMethod, net: torch.nn.Module, batch: Batch) -> torch.Tensor:
    net.zero_grad()
    total_loss(method, net, batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


def finite_differences(method: MzsrMethod, net: torch.nn.Module, batch: Batch) -> torch.Tensor:
    step, slopes = 1e-5, []
    for parameter in net.parameters():
        flat = parameter.data.view(-1)
        for position in range(len(flat)):
            here = float(flat[position])
            sides = []
            for sign in (1, -1):
                flat[position] = here + sign * step
                sides.append(float(total_loss(method, net, batch).detach()))
            flat[position] = here
            slopes.append((sides[0] - sides[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.slow
def test_the_gradient_goes_through_the_inner_steps():
    method, net, batch = method_of(4, tasks=1, inner_rate=0.5), toy(), prepared(4)
    found = gradient_of(method, net, batch)
    wanted = finite_differences(method, net, batch)
    # Central differences of step 1e-5 in float64: truncation and cancellation are both near 1e-10.
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)
    first = gradient_of(method_of(4, tasks=1, inner_rate=0.5, first_order=True), net, batch)
    assert float((first - wanted).norm() / wanted.norm()) > 0.01, "first order leaves something out"


def test_first_order_has_the_same_losses_and_the_gradient_at_the_moved_weights():
    batch, net = prepared(4), toy()
    second = method_of(batch=4, tasks=1, inner_steps=1)
    first = method_of(batch=4, tasks=1, inner_steps=1, first_order=True)
    assert torch.equal(total_loss(first, net, batch), total_loss(second, net, batch))
    # Formula: the gradient of the query loss at w - rate * gradient of the support loss.
    support, query = batch.take(slice(0, 2)), batch.take(slice(2, 4))
    moved = toy()

    def loss(part):
        return torch.mean((moved(part.extra["enlarged"], enlarged=True) - part.target) ** 2)

    gradients = torch.autograd.grad(loss(support), list(moved.parameters()))
    with torch.no_grad():
        for parameter, slope in zip(moved.parameters(), gradients):
            parameter -= 0.05 * slope
    wanted = torch.cat([slope.flatten() for slope in torch.autograd.grad(loss(query), list(moved.parameters()))])
    torch.testing.assert_close(gradient_of(first, net, batch), wanted, rtol=1e-10, atol=1e-14)  # float64 sums


@pytest.mark.parametrize("first_order", [False, True])
def test_all_tasks_at_once_give_what_they_give_one_by_one(first_order):
    method, net, batch = method_of(first_order=first_order), toy(), prepared()
    results = []
    for batched in (False, True):
        losses = method.query_losses(net, batch, batched)
        assert losses.shape == (2, 3)
        gradients = torch.autograd.grad(losses.mean(), list(net.parameters()))
        results.append((losses, *gradients))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)  # float64, sums in another order


def test_weights_of_the_query_losses():
    # Soh et al. 2020, released train.py, n outer steps: max(0.2 - 6e-5 n, 0.006) and min(0.2 + 2.4e-4 n, 0.976).
    for step in (0, 1, 1000, 3233, 3234, 100_000):
        found = step_shares("annealed", step, 5)
        assert found[:4] == pytest.approx([max(0.2 - 6e-5 * step, 0.006)] * 4, abs=1e-12)
        assert found[4] == pytest.approx(min(0.2 + 2.4e-4 * step, 0.976), abs=1e-12)
    for count in (1, 2, 3, 7):
        assert step_shares("annealed", 0, count) == pytest.approx(step_shares("uniform", 0, count))
        assert sum(step_shares("annealed", 2000, count)) == pytest.approx(1)
        assert step_shares("uniform", 2000, count) == (1 / count,) * count


def test_a_group_shares_its_kernel_and_groups_differ():
    method = method_of()
    tasks = method.select(0, np.arange(8, 24))
    made = kernels.of_tasks(tasks, "blur1")
    for row, kernel in enumerate(made):
        np.testing.assert_array_equal(kernel, made[row // 4 * 4])
    different = {kernel.tobytes() for kernel in made}
    assert len(different) == 4
    # The same kernels whichever process draws them, and those that `degrade sample` draws.
    np.testing.assert_array_equal(kernels.of_tasks(method.select(5, np.arange(12, 16)), "blur1")[0], made[4])
    assert tasks.addresses[0].endswith("/s3/i2")


def test_a_model_of_several_scales_has_one_per_step():
    method = method_of(crop_px=50, scales=(2, 3, 4))
    chosen = [method.scale_of(step) for step in range(300)]
    # Multinomial with p = 1/3: 100 +- 8.2; four standard deviations.
    assert all(abs(chosen.count(scale) - 100) < 33 for scale in (2, 3, 4))
    for step, scale in enumerate(chosen[:20]):
        side_px = method.hr_side_px(step)
        assert (side_px, method.select(step, np.arange(8)).space.scale) == ({2: 50, 3: 48, 4: 48}[scale], scale)
        target = torch.rand(8, 3, side_px, side_px)
        lr = torch.rand(8, 3, side_px // scale, side_px // scale)
        batch = method.prepare({}, Batch(np.arange(8), lr, target, target, None, {}), step)
        assert batch.extra["enlarged"].shape == target.shape
    named = method_of(crop_px=16, scales=(2, 4), space="mzsr-bicubic-x{scale}")
    assert [named.spaces[scale].name for scale in (2, 4)] == ["mzsr-bicubic-x2", "mzsr-bicubic-x4"]


@pytest.mark.slow
def test_a_model_file_names_the_scales_it_was_trained_for(tmp_path):
    loop.fit(configuration(tmp_path / "several", "method.scales=[2, 3]", "run.steps=1"))
    assert load_model(tmp_path / "several" / "models" / "last.safetensors").metadata["scales"] == [2, 3]
    loop.fit(configuration(tmp_path / "one", "run.steps=1"))
    assert load_model(tmp_path / "one" / "models" / "last.pth").metadata["scales"] == [2]


def configuration(out, *overrides: str):
    text = f"""
        [run]
        name = "mzsr"
        out = "{out}"
        steps = 6
        device = "cpu"
        [net]
        type = "mzsr"
        num_features = 4
        num_layers = 3
        [method]
        type = "mzsr"
        tasks = 2
        inner_steps = 2
        [data]
        crop_px = 32
        batch = 8
        [train]
        precision = "fp32"
        threads = 1
        [evaluate]
        every_steps = 1000
    """
    return loads(text, overrides)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["train.accumulate=1", "train.accumulate=2", "method.scales=[2, 3, 4]"])
def test_mzsr_resumes_bit_for_bit(tmp_path, change):
    loop.fit(configuration(tmp_path / "whole", change))
    loop.fit(configuration(tmp_path / "parts", "checkpoint.every_steps=3", change))
    for step, path in saved_states(tmp_path / "parts" / "states"):
        if step > 3:
            path.unlink()
    loop.fit(configuration(tmp_path / "parts", change), resume="auto")
    whole, parts = (load_state(saved_states(tmp_path / name / "states")[0][1])[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_slices_of_a_batch_give_the_gradient_of_the_whole():
    method, net, batch = method_of(), toy(torch.float32), prepared(dtype=torch.float32)
    whole = gradient_of(method, net, batch)
    halves = [gradient_of(method, net, batch.take(rows)) for rows in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, whole, rtol=1e-5, atol=1e-7)  # float32 sums in another order
    assert not is_separable(method, {"generator": net}, batch)
    assert not is_separable(method_of(batch=4, tasks=1), {"generator": net}, prepared(4))


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.batch must be a multiple of twice method\.tasks, 4, .*got 6"):
        build_method(configuration(tmp_path, "data.batch=6"))
    with pytest.raises(ConfigError, match=r"net\.type must be 'mzsr' for method mzsr, got 'srresnet'"):
        build_method(configuration(tmp_path, "net={type='srresnet', scale=2}"))
    with pytest.raises(ConfigError, match=r"data\.crop_px must be at least 4 times the largest scale, 36, got 32"):
        build_method(configuration(tmp_path, "method.scales=[2, 9]"))
    with pytest.raises(ConfigError, match=r"method\.space must have the network's scale x2, got mzsr-direct-x4 x4"):
        build_method(configuration(tmp_path, "method.space=mzsr-direct-x4"))
    for change, message in (
        ("train.accumulate=4", r"train\.accumulate must divide the 2 groups of 4 samples .*, got 4"),
        ("train.parallel_slices=2", r"train\.parallel_slices must be 0 or 1 for this method, got 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            loop.fit(configuration(tmp_path / "run", change))
    for change, message in (
        ({"tasks": 0}, r"method\.tasks must be >= 1, got 0"),
        ({"scales": (2, 1)}, r"method\.scales\[1\] must be >= 2, got 1"),
        ({"inner_steps": 0}, r"method\.inner_steps must be >= 1, got 0"),
        ({"inner_rate": 0.0}, r"method\.inner_rate must be > 0, got 0\.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            MzsrOptions(**change)
    with pytest.raises(ConfigError, match=r"train\.compile must be 'off' for method mzsr"):
        method_of().query_losses(torch.nn.Sequential(toy()), prepared(), batched=False)
    for batch in (prepared(6), prepared(4, first=2)):
        with pytest.raises(ConfigError, match=r"must be whole groups of 4 samples \(one kernel each\), got"):
            method_of().query_losses(toy(), batch, batched=False)


@pytest.mark.slow
def test_sets_are_measured_after_adapting_to_their_images(tmp_path):
    """By the kernel of each image's task; the best model is kept by that."""
    from skimage import data

    (tmp_path / "set").mkdir()
    for number, image in enumerate((data.astronaut(), data.coffee())):
        write_image(tmp_path / "set" / f"{number}.png", np.ascontiguousarray(image[100:180, 100:196]))
    sets = "evaluate.sets=[" + ", ".join(
        f"{{name='{name}', hr=['{tmp_path}/set'], space='mzsr-direct-x2', seed=4, {more}}}"
        for name, more in (("before", "crop_px=80"), ("after", "crop_px=80, adapt_steps=2, adapt_rate=0.03"))
    ) + "]"  # fmt: skip
    kept = ("checkpoint.keep_best=after/psnr", "evaluate.every_steps=3")
    result = loop.fit(configuration(tmp_path / "run", sets, *kept))
    net = load_model(tmp_path / "run" / "models" / "last.safetensors").net

    tasks = pydegrade.sample("mzsr-direct-x2", 4, [0, 1])
    wanted = []
    for row, kernel in enumerate(kernels.of_tasks(tasks, "blur1")):
        hr = np.asarray(Image.open(tmp_path / "set" / f"{row}.png"))[:, 8:88]
        image = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1).float().div(255)[None]
        lr = pydegrade.degrade(image, tasks.take([row])).mul(255).round().div(255)
        (adapted,) = adapting.adapt(net, lr, kernel, (2,), "direct", rate=0.03)
        hr_CHW = torch.from_numpy(np.ascontiguousarray(hr.transpose(2, 0, 1)))
        wanted.append(pydegrade.psnr(adapted.image[0], hr_CHW, "y-uint8-border2").value)
    assert result.scores["after/psnr"] == pytest.approx(np.mean(wanted), abs=1e-3)
    assert result.scores["after/psnr"] != result.scores["before/psnr"]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    measured = [line for line in log if line["kind"] == "evaluate"]
    assert [one["degradation"].endswith(", adapted 2 steps") for one in measured[0]["sets"]] == [False, True]
    best = load_model(tmp_path / "run" / "models" / "best.safetensors").metadata["score"]
    assert best == {"after/psnr": max(line["scores"]["after/psnr"] for line in measured)}


@pytest.mark.parametrize(
    ("net", "one", "message"),
    [
        ("srresnet", "adapt_steps=1", r"adapt_steps must be 0 for a network of type srresnet, only mzsr adapts"),
        ("mzsr", "adapt_steps=1, space='realesrgan-x2'", r"space realesrgan-x2 must be one blur and one resize, it has "),
        ("mzsr", "adapt_steps=1, space='mzsr-direct-x2', crop_px=28", r"lr must be at least 15 px .* got 14 px"),
        ("mzsr", "adapt_steps=-1", r"adapt_steps must be >= 0"),
    ],
)  # fmt: skip
def test_sets_that_cannot_adapt_are_refused_before_the_first_step(tmp_path, net, one, message):
    nets = f"net={{type='{net}', scale=2, num_features=4}}"
    methods = ("method={type='psnr'}",) if net == "srresnet" else ()
    with pytest.raises((ConfigError, DataError), match=message):
        loop.fit(configuration(tmp_path / "run", nets, *methods, f"evaluate.sets=[{{name='a', {one}}}]"))
    assert not (tmp_path / "run").exists()

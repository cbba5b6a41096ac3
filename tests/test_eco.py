"""ECO: the mixing schedule, pairs made by a teacher, and training on their blend."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import pydegrade
from pydegrade.commands import cli
from pydegrade.files.dataset import PHOTOGRAPHS, photographs_folder
from pydegrade.files.pixels import to_float
from pydegrade.files.read import read_image
from pydegrade.files.write import write_image
from pytrain import nets
from pytrain.config.config import loads
from pytrain.data.source import open_source, stream
from pytrain.errors import CheckpointError, ConfigError, DataError
from pytrain.files.checkpoint import load_model, load_state, save_model
from pytrain.methods.contract import Setup
from pytrain.methods.eco import EcoMethod, EcoOptions, real_share
from pytrain.methods.pairs import SETS, downscale, plan_pairs, read_manifest, write_pairs
from pytrain.training import loop
from pytrain.training.degrade import assemble
from pytrain.training.opening import build_method, fresh_nets, left_fresh
from pytrain.training.state import saved_states

NET = nets.SRResNetConfig(scale=2, num_features=4, num_blocks=1)


def make_model(path: Path, seed: int, scale: int = 2) -> torch.nn.Module:
    config = nets.SRResNetConfig(scale=scale, num_features=4, num_blocks=1)
    torch.manual_seed(seed)
    net = nets.build(config).eval()
    save_model(path, config, net)
    return net


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Three images, odd sides, one in a subfolder."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "sub").mkdir()
    rng = np.random.default_rng(1)
    for name, size in (("a", (41, 36)), ("b", (50, 33)), ("sub/c", (37, 37))):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def pairs(clean, tmp_path_factory):
    """(folder of pairs, model file of their teacher)."""
    folder = tmp_path_factory.mktemp("made")
    model = folder / "teacher.safetensors"
    teacher = make_model(model, seed=0)
    assert write_pairs(plan_pairs([clean], teacher, "uint8"), teacher, folder / "pairs").complete
    return folder / "pairs", model


@pytest.mark.parametrize(
    ("progress", "wanted"),
    # The released sigmoid, three digits.
    [(0.0, 0), (0.26, 0), (0.30, 0.043), (0.40, 0.223), (0.5, 0.5), (0.6, 0.777), (0.74, 1), (1.0, 1)],
)
def test_sigmoid_schedule_has_the_released_values(progress, wanted):
    assert real_share("sigmoid", progress) == pytest.approx(wanted, abs=5e-4)


def test_schedules_rise_and_are_symmetric():
    times = np.linspace(0, 1, 101)
    shares = [real_share("sigmoid", time) for time in times]
    assert all(later >= earlier for earlier, later in pairwise(shares))
    np.testing.assert_allclose(np.add(shares, shares[::-1]), 1, atol=1e-12)  # rounding of exp
    assert [real_share("linear", time) for time in times] == times.tolist()
    assert {real_share("vanilla", time) for time in times} == {1.0}
    assert real_share("sigmoid", 0.5, shift=2) < 0.5


def test_the_four_sets_are_what_their_names_say(clean, pairs):
    folder = pairs[0]
    torch.manual_seed(0)
    teacher = nets.build(NET).eval()
    for name, size in (("a", (40, 36)), ("b", (50, 32)), ("sub/c", (36, 36))):
        hr, lr, sr, lr_pretrained = (read_image(folder / kind / f"{name}.png") for kind in SETS)
        original = np.array(Image.open(clean / f"{name}.png"))
        np.testing.assert_array_equal(hr, original[: size[1], : size[0]])
        np.testing.assert_array_equal(lr, pydegrade.imresize(hr, scale=1 / 2))
        with torch.no_grad():
            planes = torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255
            out = teacher(planes)[0].permute(1, 2, 0).double().numpy()
        wanted = np.floor(np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)
        # The product with 255 is rounded to float32 there and not here: a value on the edge may fall either way.
        assert np.mean(sr != wanted) < 0.001
        np.testing.assert_array_equal(lr_pretrained, pydegrade.imresize(sr, scale=1 / 2))


def test_recipes_differ_and_are_matlabs(clean):
    pixels = read_image(clean / "a.png")[:40, :36]
    by_class, by_double = downscale(pixels, 2, "uint8"), downscale(pixels, 2, "im2double")
    assert (by_class != by_double).any()
    assert np.abs(by_class.astype(int) - by_double).max() <= 1
    doubles = pydegrade.imresize(pixels / 255, scale=1 / 2)
    np.testing.assert_array_equal(by_double, np.floor(np.clip(doubles, 0, 1) * 255 + 0.5).astype(np.uint8))


def test_shards_and_stops_give_the_files_of_one_run(clean, pairs, tmp_path):
    whole, _ = pairs
    teacher = make_model(tmp_path / "same.pth", seed=0)
    out = tmp_path / "out"

    class StopError(Exception):
        pass

    def stop(count: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        write_pairs(plan_pairs([clean], teacher, "uint8", (0, 2)), teacher, out, finished=stop)
    assert not write_pairs(plan_pairs([clean], teacher, "uint8", (1, 2)), teacher, out).complete
    assert not (out / "manifest.json").exists()
    kept = out / "hr" / "a.png"
    before_ns = kept.stat().st_mtime_ns
    assert write_pairs(plan_pairs([clean], teacher, "uint8", (0, 2)), teacher, out).complete
    assert kept.stat().st_mtime_ns == before_ns, "finished files are not made again"
    for path in sorted(whole.rglob("[!.]*.*")):
        assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes(), path


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../../etc/passwd": dict.fromkeys(SETS, "")}, "file names must stay inside the folder"),
        ({"/etc/passwd": dict.fromkeys(SETS, "")}, "file names must stay inside the folder"),
        ({"a": {**dict.fromkeys(SETS, ""), "../../../etc": ""}}, "every image must name the sets hr, lr"),
        ({"a": {"hr": ""}}, "every image must name the sets hr, lr"),
        ({"a": None}, "every image must name the sets hr, lr"),
        ([], "files must be a table of images, got list"),
    ],
)
def test_names_of_a_manifest_stay_in_its_folder(pairs, tmp_path, files, message):
    folder = pairs[0]
    content = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**content, "files": files}))
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_the_manifest_finds_damage(pairs, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(pairs[0], folder)
    assert list(read_manifest(folder).damaged(folder)) == []
    pixels = read_image(folder / "lr" / "a.png").copy()
    pixels[3, 3, 1] ^= 1
    write_image(folder / "lr" / "a.png", pixels)
    (folder / "hr" / "sub" / "c.png").unlink()
    lines = list(read_manifest(folder).damaged(folder))
    assert [line.split(": ")[1] for line in lines] == ["has other pixels than its manifest says", "is missing"]


def eco_config(**values: object) -> EcoOptions:
    return EcoOptions(**values)  # type: ignore[arg-type]


def setup(scale: int = 2, pretrained: str = "") -> Setup:
    net = nets.SRResNetConfig(scale=scale, num_features=4, num_blocks=1)
    return Setup(net, seed=0, crop_px=16, batch=2, steps=10, pretrained=pretrained)


def test_a_student_must_not_be_its_teacher(pairs):
    folder, model = pairs
    config = eco_config(manifest=str(folder / "manifest.json"))
    with pytest.raises(CheckpointError, match="must not start from its teacher's weights"):
        EcoMethod(config, setup(pretrained=str(model))).nets()
    live = eco_config(pairs="live", teacher=str(model))
    with pytest.raises(CheckpointError, match="must not be what the student starts from"):
        EcoMethod(live, setup(pretrained=str(model))).nets()


def test_pairs_of_another_kind_are_refused(pairs, tmp_path):
    folder = pairs[0]
    other = tmp_path / "other.pth"
    make_model(other, seed=9)
    manifest = str(folder / "manifest.json")
    with pytest.raises(DataError, match=r"pairs must have the network's scale x4, got x2"):
        EcoMethod(eco_config(manifest=manifest), setup(scale=4)).nets()
    with pytest.raises(DataError, match=r"pairs must be made by the recipe 'im2double', got 'uint8'"):
        EcoMethod(eco_config(manifest=manifest, recipe="im2double"), setup()).nets()
    with pytest.raises(DataError, match=r"pairs must come from teacher [0-9a-f]{12}, got those of [0-9a-f]{12}"):
        EcoMethod(eco_config(manifest=manifest, teacher=str(other)), setup()).nets()
    with pytest.raises(CheckpointError, match=r"scale must be 4, got a srresnet x2"):
        EcoMethod(eco_config(pairs="live", teacher=str(other)), setup(scale=4)).nets()
    with pytest.raises(DataError, match="must be the manifest of finished pairs"):
        EcoMethod(eco_config(manifest=str(tmp_path)), setup()).nets()
    broken = tmp_path / "manifest.json"
    broken.write_text("[]")
    with pytest.raises(DataError, match="must be a manifest of degrade pairs, version 1"):
        EcoMethod(eco_config(manifest=str(broken)), setup()).nets()
    with pytest.raises(ConfigError, match=r"method\.manifest must name the manifest\.json"):
        eco_config()
    with pytest.raises(ConfigError, match=r"method\.recipe must be 'uint8' where method\.pairs = 'live'"):
        eco_config(pairs="live", teacher=str(other), recipe="im2double")
    with pytest.raises(ConfigError, match=r"method\.teacher must name a model file where method\.pairs = 'live'"):
        eco_config(pairs="live")


def configuration(pairs, out: Path, *overrides: str):
    folder = pairs[0]
    text = f"""
        [run]
        name = "eco"
        out = "{out}"
        steps = 8
        device = "cpu"
        [net]
        type = "srresnet"
        scale = 2
        num_features = 4
        num_blocks = 1
        [method]
        type = "eco"
        manifest = "{folder}/manifest.json"
        [data]
        hr = ["{folder}/hr"]
        lr = "{folder}/lr"
        sets = {{ sr_pretrained = "{folder}/sr_pretrained", lr_pretrained = "{folder}/lr_pretrained" }}
        crop_px = 16
        batch = 2
        [train]
        precision = "fp32"
        threads = 1
        [evaluate]
        every_steps = 1000
    """
    return loads(text, overrides)


def live(pairs) -> tuple[str, ...]:
    folder, model = pairs
    return (
        f"method={{type='eco', pairs='live', teacher='{model}'}}",
        f"data={{hr=['{folder}/hr'], crop_px=16, batch=2}}",
    )


def batches_of(config, step: int):
    """What the phases see at a step, and the images it was made from."""
    method = build_method(config)
    source = open_source(config.data, method.images, 2, config.run.seed)
    (raw,) = list(stream(source, range(step, step + 1), 0, 1))
    batch = assemble(method, raw, torch.device("cpu"))
    return raw, batch, method.prepare(method.nets(), batch, step)


def test_input_and_target_are_blended_with_one_share(pairs, tmp_path):
    config = configuration(pairs, tmp_path, "method.mix=linear")
    for step, share in ((0, 0.0), (2, 0.25), (6, 0.75)):
        raw, _, batch = batches_of(config, step)
        images = {name: image.double() / 255 for name, image in raw.images.items()}
        lr = (1 - share) * images["lr_pretrained"] + share * images["lr"]
        target = (1 - share) * images["sr_pretrained"] + share * images["hr"]
        # float32 against float64, values up to 1.
        np.testing.assert_allclose(batch.lr.numpy(), lr.numpy(), atol=2e-7)
        np.testing.assert_allclose(batch.target.numpy(), target.numpy(), atol=2e-7)
    raw, plain, batch = batches_of(configuration(pairs, tmp_path, "method.mix=vanilla"), 0)
    assert torch.equal(batch.lr, plain.lr)
    assert torch.equal(batch.target, plain.hr)


def test_live_pairs_are_the_teachers_output_and_its_bicubic(pairs, tmp_path):
    config = configuration(pairs, tmp_path, *live(pairs))
    _, plain, batch = batches_of(config, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        sr = nets.build(NET).eval()(plain.lr).clamp(0, 1)
    levels = batch.target * 255
    np.testing.assert_allclose(levels.numpy(), levels.round().numpy(), atol=1e-4)  # 8 bits in float32
    assert float((levels - sr * 255).abs().max()) <= 0.5 + 1e-3
    for image, small in zip(levels.round(), batch.lr):
        pixels = image.permute(1, 2, 0).byte().numpy()
        wanted = pydegrade.imresize(pixels, scale=1 / 2)
        # The engine resizes floats and rounds at the end; uint8 rounds after each direction: at most one level apart.
        assert np.abs(small.permute(1, 2, 0).numpy() * 255 - wanted).max() <= 1 + 1e-3


def test_single_pairs_are_real_or_free_of_noise_with_the_chance_of_the_step(pairs, tmp_path):
    config = configuration(pairs, tmp_path, "method.mix=linear", "method.unit=sample", "data.batch=16")
    raw, _, batch = batches_of(config, 4)  # halfway
    images = {name: image.float() / 255 for name, image in raw.images.items()}
    is_real = pydegrade.named_uniform(config.run.seed, batch.indices, "eco.real") < 0.5
    assert 0 < is_real.sum() < 16
    for row, real in enumerate(is_real):
        lr, target = ("lr", "hr") if real else ("lr_pretrained", "sr_pretrained")
        assert torch.equal(batch.lr[row], images[lr][row])
        assert torch.equal(batch.target[row], images[target][row])


def test_live_pairs_of_another_space_are_made_by_the_tasks_of_their_images(pairs, tmp_path):
    config = configuration(pairs, tmp_path, *live(pairs), "method.space=realesrgan-x2")
    _, plain, batch = batches_of(config, 0)
    assert plain.tasks.space.name == "realesrgan-x2"
    assert torch.equal(batch.lr, pydegrade.degrade(batch.target.contiguous(), plain.tasks))
    assert not torch.equal(batch.lr, plain.lr)
    with pytest.raises(ConfigError, match=r"method\.space must be 'auto' where method\.pairs = 'disk'"):
        configuration(pairs, tmp_path, "method.space=realesrgan-x2")


def test_an_x4_starts_from_an_x2_and_names_what_does_not_fit(pairs, tmp_path):
    make_model(tmp_path / "x2.safetensors", seed=3)
    start = ("net.scale=4", "method={type='psnr'}", "data.sets={}", "data.lr=''",
             f"train.pretrained={tmp_path / 'x2.safetensors'}")  # fmt: skip
    whole = configuration(pairs, tmp_path, *start)
    with pytest.raises(CheckpointError, match="does not fit srresnet x4"):
        fresh_nets(whole, build_method(whole), torch.device("cpu"))
    config = configuration(pairs, tmp_path, *start, "train.partial=true")
    method = build_method(config)
    net = fresh_nets(config, method, torch.device("cpu"))["generator"]
    wanted = load_model(tmp_path / "x2.safetensors").net.state_dict()
    assert all(torch.equal(net.state_dict()[key], value) for key, value in wanted.items())
    line = left_fresh(config, method, net)
    assert line.endswith("all but 2 tensors are loaded, fresh: upconv2.weight, upconv2.bias")
    strange = nets.MZSRConfig(num_features=4, num_layers=2)
    save_model(tmp_path / "strange.safetensors", strange, nets.build(strange))
    other = configuration(
        pairs, tmp_path, *start, "train.partial=true", f"train.pretrained={tmp_path / 'strange.safetensors'}"
    )
    with pytest.raises(CheckpointError, match="no tensor fits srresnet x4"):
        fresh_nets(other, build_method(other), torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "live"])
def test_eco_resumes_bit_for_bit(pairs, tmp_path, kind):
    change = live(pairs) if kind == "live" else ()
    loop.fit(configuration(pairs, tmp_path / "whole", *change))
    loop.fit(configuration(pairs, tmp_path / "parts", "run.steps=8", "checkpoint.every_steps=3", *change))
    # Go back to step 3 by forgetting what came later: the schedule depends on the run's length.
    for step, path in saved_states(tmp_path / "parts" / "states"):
        if step > 3:
            path.unlink()
    loop.fit(configuration(pairs, tmp_path / "parts", *change), resume="auto")
    whole, parts = (load_state(saved_states(tmp_path / name / "states")[0][1])[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    if kind == "live":
        torch.manual_seed(0)
        for key, value in nets.build(NET).state_dict().items():
            assert torch.equal(whole[f"net.teacher/{key}"], value), "a teacher stays as it is"


def test_the_command_makes_pairs_and_refuses_others(clean, pairs, tmp_path):
    folder, model = pairs
    run = CliRunner()
    arguments = ["pairs", "--model", str(model), "--hr", str(clean), "--out", str(tmp_path / "out")]
    done = run.invoke(cli.cli, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out" / "manifest.json")
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert content == json.loads((folder / "manifest.json").read_text())
    assert set(content["files"]) == {"a", "b", "sub/c"}
    assert run.invoke(cli.cli, arguments).exit_code == 0

    for extra, message in (
        (["--recipe", "im2double"], "holds pairs of another run, recipe is 'uint8', got 'im2double'"),
        (["--scale", "4"], "scale must be 4, got a srresnet x2"),
        (["--shard", "2/2"], "--shard must be I/N with 0 <= I < N, got '2/2'"),
        (["--shard", "x"], "--shard must be I/N with 0 <= I < N, got 'x'"),
    ):
        failed = run.invoke(cli.cli, [*arguments, *extra])
        assert isinstance(failed.exception, ValueError), failed.output
        assert message in str(failed.exception)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    failed = run.invoke(cli.cli, [*arguments[:-1], str(tmp_path / "full")])
    assert "must be new, empty or a folder of an earlier run" in str(failed.exception)


def test_how_far_the_live_recipe_is_from_the_uint8_one():
    """docs/eco.md says so: equal but for single levels, and rarely more at over-shoots that are clipped halfway."""
    for scale in (2, 3, 4):
        task = pydegrade.sample(f"bicubic-x{scale}", 0, [0])
        differences = []
        for name in PHOTOGRAPHS:
            pixels = read_image(photographs_folder() / name)
            height, width = (side // scale * scale for side in pixels.shape[:2])
            pixels = np.ascontiguousarray(pixels[:height, :width])
            live = pydegrade.degrade(to_float(pixels)[None], task)[0].permute(1, 2, 0).mul(255).round().numpy()
            differences.append(np.abs(pydegrade.imresize(pixels, 1 / scale) - live).reshape(-1))
        difference = np.concatenate(differences)
        assert 0.85 < (difference == 0).mean() < 0.9
        assert (difference > 1).mean() < 3e-4
        assert difference.max() in (4, 7)

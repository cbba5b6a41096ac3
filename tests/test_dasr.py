"""DASR: labels travel with their images, experts start from one network, vectors can be read and edited."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import pydegrade
from pydegrade import vectors
from pydegrade.commands import cli as degrade_cli
from pytrain import nets
from pytrain.commands import cli, sweep
from pytrain.config.config import loads
from pytrain.data.source import DataConfig, open_source, stream
from pytrain.errors import CheckpointError, ConfigError
from pytrain.evaluation.infer import upscale
from pytrain.files.checkpoint import load_into, load_model, load_state, save_model
from pytrain.training import loop, precision
from pytrain.training.degrade import assemble, to_float
from pytrain.training.log import read
from pytrain.training.opening import build_method
from pytrain.training.state import saved_states

SMALL = nets.DASRConfig(num_features=6, num_blocks=1, num_experts=3, predictor_features=4)


def configuration(out, *overrides: str):
    text = f"""
        [run]
        name = "dasr"
        out = "{out}"
        steps = 6
        seed = 5
        device = "cpu"
        [net]
        type = "dasr"
        num_features = 6
        num_blocks = 1
        num_experts = 3
        predictor_features = 4
        [method]
        type = "dasr"
        perceptual_weight = 0
        [method.discriminator]
        type = "unet_discriminator"
        num_features = 4
        [data]
        crop_px = 64
        batch = 3
        [train]
        precision = "fp32"
        threads = 1
        [evaluate]
        every_steps = 1000
        [checkpoint]
        every_steps = 4
    """
    return loads(text, overrides)


def first_batch(config):
    method = build_method(config)
    source = open_source(config.data, method.images, 4, config.run.seed)
    (raw,) = list(stream(source, range(1, 2), 0, 1))
    batch = assemble(method, raw, torch.device("cpu"))
    return method, batch, method.prepare({}, batch, 1)


def test_every_label_is_that_of_its_image(tmp_path):
    _, plain, batch = first_batch(configuration(tmp_path))
    tasks = pydegrade.sample("dasr-mixed", 5, range(3, 6))
    vector, mask = tasks.vector("dasr33-global")
    np.testing.assert_array_equal(batch.extra["vector"].numpy(), vector)
    np.testing.assert_array_equal(batch.extra["vector_mask"].numpy(), mask)
    assert torch.equal(plain.lr, pydegrade.degrade(plain.hr, tasks))
    assert len({str(row) for row in vector}) == 3, "every image has a vector of its own"


def test_the_released_labels_and_the_released_defect_are_switches(tmp_path):
    _, _, batch = first_batch(configuration(tmp_path, "method.scheme=dasr33", "method.compat=dasr2022"))
    wanted, _ = pydegrade.sample("dasr-mixed", 5, range(3, 6)).vector("dasr33", "dasr2022")
    np.testing.assert_array_equal(batch.extra["vector"].numpy(), wanted)
    _, plain, shuffled = first_batch(configuration(tmp_path, "method.shuffled_labels=true"))
    _, _, right = first_batch(configuration(tmp_path))
    assert torch.equal(plain.lr, right.lr)
    assert not torch.equal(shuffled.extra["vector"], right.extra["vector"])


@pytest.mark.parametrize("mixing", ["predicted", "truth", "level", "constant"])
def test_what_the_shares_follow_is_a_switch(tmp_path, mixing):
    method, plain, batch = first_batch(configuration(tmp_path, f"method.mixing={mixing}", "method.gan_weight=0"))
    net = method.nets()["generator"]
    vector, levels = batch.extra["vector"], plain.tasks.component
    given = {
        "predicted": net.predictor(batch.lr)[0],
        "truth": vector,
        "level": torch.eye(33)[torch.as_tensor(levels, dtype=torch.long)],
        "constant": torch.zeros_like(vector),
    }[mixing]
    wanted = net.generator(batch.lr, net.predictor.shares(given))
    torch.testing.assert_close(method.generator_loss({"generator": net}, batch, 1).kept["sr"], wanted)


def test_a_space_of_one_level_has_none_to_follow(tmp_path):
    with pytest.raises(ConfigError, match=r"must have a space of several levels, got dasr-weak"):
        first_batch(configuration(tmp_path, "method.mixing=level", "method.space=dasr-weak"))


def correlation_after_training(folder, shuffled):
    """Mean correlation of estimate and truth, over three entries and 256 held-out crops, after 120 steps."""
    text = f"""
        [run]
        out = "{folder}"
        steps = 120
        device = "cpu"
        [net]
        type = "dasr"
        num_features = 2
        num_blocks = 1
        num_experts = 2
        predictor_features = 8
        predictor_input = "high_pass"
        [method]
        type = "dasr"
        perceptual_weight = 0
        gan_weight = 0
        shuffled_labels = {shuffled}
        [data]
        exclude = ["chelsea.png", "rocket.jpg"]
        crop_px = 96
        batch = 8
        [optimizer]
        learning_rate = 3e-3
        [train]
        precision = "fp32"
        threads = 1
        ema_decay = 0
        [evaluate]
        every_steps = 1000
    """
    loop.fit(loads(text))
    net = load_model(folder / "models" / "last.safetensors").net
    data = DataConfig(images=("chelsea.png", "rocket.jpg"), crop_px=96, batch=32)
    found = []
    with torch.no_grad():
        for raw in stream(open_source(data, ("hr",), 4, 77), range(8), 0, 1):
            tasks = pydegrade.sample("dasr-mixed", 77, raw.indices)
            estimate, _ = net.predictor(pydegrade.degrade(to_float(raw.images["hr"]), tasks))
            found.append((*tasks.vector("dasr33-global"), estimate.numpy()))
    vector, mask, estimate = map(np.concatenate, zip(*found))
    names = ("blur1.sigma_x_px", "noise1.level", "jpeg1.quality")
    entries = [vectors.ENTRIES.index(name) for name in names]
    return np.mean([np.corrcoef(vector[mask[:, k], k], estimate[mask[:, k], k])[0, 1] for k in entries])


@pytest.mark.slow
def test_labels_of_other_images_teach_nothing(tmp_path):
    # About 0.3 after so few steps. Without relation, each of the three has a deviation of 1 / sqrt(256).
    assert correlation_after_training(tmp_path / "right", "false") > 0.2
    assert abs(correlation_after_training(tmp_path / "shuffled", "true")) < 0.15


def test_regression_is_the_mean_over_entries_or_over_the_known_ones(tmp_path):
    for masked in ("false", "true"):
        method, _, batch = first_batch(configuration(tmp_path, f"method.masked={masked}", "method.gan_weight=0"))
        torch.manual_seed(0)
        made = method.nets()
        terms = method.phases[0].loss(made, batch, 0)
        found, _ = made["generator"].predictor(batch.lr)
        error = np.abs(found.detach().double().numpy() - batch.extra["vector"].numpy())
        known = batch.extra["vector_mask"].numpy() if masked == "true" else np.ones_like(error, bool)
        # float32 against float64, about a hundred terms below 1.
        assert terms.losses["regression"].item() == pytest.approx(error[known].mean(), rel=1e-5)
        assert set(terms.losses) == {"l1", "regression"}


def test_without_gan_there_is_no_discriminator(tmp_path):
    method = build_method(configuration(tmp_path, "method.gan_weight=0"))
    assert [phase.name for phase in method.phases] == ["generator"]
    assert set(method.nets()) == set(method.configs()) == {"generator"}
    method = build_method(configuration(tmp_path))
    assert [phase.name for phase in method.phases] == ["generator", "discriminator"]


@pytest.mark.slow
def test_dasr_resumes_bit_for_bit(tmp_path):
    loop.fit(configuration(tmp_path / "whole"))
    loop.fit(configuration(tmp_path / "parts", "run.steps=4"))
    loop.fit(configuration(tmp_path / "parts"), resume="auto")
    whole, parts = (load_state(saved_states(tmp_path / name / "states")[0][1])[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    model = load_model(tmp_path / "whole" / "models" / "last.safetensors")
    assert model.config == SMALL


def test_experts_start_as_copies_of_one_network(tmp_path):
    plain_config = nets.SRResNetConfig(num_features=6, num_blocks=1)
    torch.manual_seed(1)
    plain = nets.build(plain_config).eval()
    save_model(tmp_path / "plain.pth", plain_config, plain)
    net = nets.build(SMALL).eval()
    load_into(net, SMALL, tmp_path / "plain.pth")
    image = torch.rand(1, 3, 9, 7)
    shares = torch.tensor([0.5, 0.2, 0.3])
    # Shares that sum to one mix equal experts into the network they are copies of, to float32 rounding.
    torch.testing.assert_close(net.generator.mixed(shares)(image), plain(image), rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match="got SRResNetConfig"):
        load_into(net, SMALL, _saved(tmp_path / "wide.pth", nets.SRResNetConfig(num_features=8, num_blocks=1)))
    five = nets.DASRConfig(num_features=6, num_blocks=1, num_experts=5, predictor_features=4)
    with pytest.raises(CheckpointError, match="expected 3 experts, got a checkpoint with 5"):
        load_into(net, SMALL, _saved(tmp_path / "five.pth", five))


def _saved(path, config):
    save_model(path, config, nets.build(config))
    return path


def test_an_image_is_treated_alike_in_all_tiles():
    torch.manual_seed(0)
    net = nets.build(SMALL).eval()
    with torch.no_grad():
        # Spread the shares, so that tiles on their own would be mixed differently.
        net.predictor.MappingNet[1].weight.mul_(100)
    image = torch.rand(1, 3, 40, 44)
    with torch.no_grad():
        whole, _, shares = net.with_vector(image)
        corner = net.predictor(image[..., :20, :20])[1]
    assert float((shares - corner).abs().max()) > 1e-3
    tiled = upscale(net, image, tile_px=32, overlap_px=16)
    # Mixed and grouped convolutions sum in another order; the shares are large here.
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))


# Vectors by name.


def test_entries_name_what_encode_writes():
    tasks = pydegrade.sample("dasr-severe", 0, range(64))
    values, mask = tasks.vector("dasr33-global")
    assert len(vectors.ENTRIES) == vectors.SIZE
    rows = np.nonzero(mask.all(1) | mask[:, :4].all(1))[0]
    assert len(rows) > 10
    for row in rows.tolist():
        said = vectors.described(values[row])
        for entry, name in enumerate(vectors.ENTRIES):
            slot, _, column = name.partition(".")
            # A round kernel's second width repeats the first; its angle is written as 0.
            round_kernel = column in ("sigma_y_px", "angle_rad") and tasks.labels(f"{slot}.shape")[row] == "iso"
            if not mask[row, entry] or round_kernel:
                continue
            if "=" in name:
                group, _, choice = name.partition("=")
                if group != "order":
                    assert (said[group] == choice) == bool(values[row, entry] == values[row, entry].max() == 1.0), name
                    if values[row, entry] == 1:
                        assert tasks.labels(group)[row] == choice
            else:
                if column == "level":
                    column = {"gaussian": "sigma_8bit", "poisson": "poisson_gain"}[tasks.labels(f"{slot}.kind")[row]]
                # float32 numbers between 0 and 1 stretched by at most 65.
                assert said[f"{slot}.{column}"] == pytest.approx(float(tasks.column(f"{slot}.{column}")[row]), abs=1e-4)


def test_an_edit_changes_what_it_names_and_nothing_else():
    vector = pydegrade.sample("dasr-severe", 0, [0]).vector("dasr33-global")[0][0]
    edits = {"blur1.sigma_x_px": "2.5", "noise1.poisson_gain": "1.5", "resize1.mode": "torch_area", "noise2.gray": "1"}
    edited = vectors.edited(vector, {**edits, "order": "jpeg2,sinc"})
    said = vectors.described(edited)
    for name, value in edits.items():
        assert str(said[name]) == value or float(said[name]) == pytest.approx(float(value), abs=1e-5)
    assert said["order"] == "jpeg2,sinc"
    assert said["noise1.kind"] == "poisson"
    touched = {"blur1.sigma_x_px", "noise2.gray"}
    touched |= {
        name for name in vectors.ENTRIES if name.startswith(("noise1.level", "noise1.kind", "resize1.mode", "order"))
    }
    for entry, name in enumerate(vectors.ENTRIES):
        assert name in touched or edited[entry] == vector[entry], name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blur1.sigma_x": "1"}, "no entry 'blur1.sigma_x'; did you mean 'blur1.sigma_x_px'?"),
        ({"blur1.sigma_x_px": "9"}, r"blur1.sigma_x_px must be in \[0.2, 3\], got 9"),
        ({"blur1.sigma_x_px": "nan"}, r"blur1.sigma_x_px must be in \[0.2, 3\], got nan"),
        ({"blur1.sigma_x_px": "big"}, "blur1.sigma_x_px must be a number, got 'big'"),
        ({"resize1.mode": "nearest"}, "resize1.mode must be one of torch_area, torch_bilinear, torch_bicubic"),
        ({"noise1.gray": "2"}, r"noise1.gray must be in \[0, 1\], got 2"),
    ],
)
def test_bad_edits_are_named(changes, message):
    with pytest.raises(pydegrade.TaskError, match=message):
        vectors.edited(np.zeros(33, np.float32), changes)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("net={type='srresnet'}",), "net.type must be 'dasr' for method dasr, got 'srresnet'"),
        (("net.num_entries=7",), "net.num_entries must be 33 for method dasr, got 7"),
        (("net.scale=2",), "method.space must have the network's scale x2, got dasr-mixed x4"),
        (("method.space=bsrgan-x4",), "method.space must have DASR's slots, bsrgan-x4 has no resize1"),
        (("method.compat=dasr2022",), "method.scheme must be 'dasr33' where method.compat is set"),
        (("method.regression_weight=-1",), "method.regression_weight must be >= 0, got -1"),
    ],
)
def test_bad_configurations_are_named(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_method(configuration(tmp_path, *overrides))


# On the command line.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network whose shares depend on the vector."""
    path = tmp_path_factory.mktemp("model") / "dasr.safetensors"
    torch.manual_seed(0)
    net = nets.build(SMALL)
    with torch.no_grad():
        net.predictor.MappingNet[1].weight.mul_(10)
    save_model(path, SMALL, net)
    return path


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_estimate_prints_and_writes_what_the_predictor_says(model, photo, tmp_path):
    arguments = ["estimate", str(photo), "--model", str(model), "--json", str(tmp_path / "e.json")]
    done = CliRunner().invoke(degrade_cli.cli, arguments)
    assert done.exit_code == 0, done.output
    (said,) = json.loads((tmp_path / "e.json").read_text()).values()
    net = load_model(model).net
    image = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        vector, shares = net.predictor(image)
    np.testing.assert_allclose(said["vector"], vector[0].numpy(), atol=1e-6)  # six digits are written
    np.testing.assert_allclose(said["shares"], shares[0].numpy(), atol=1e-6)
    sigma = 0.2 + (3.0 - 0.2) * float(vector[0, 1])
    assert said["parameters"]["blur1.sigma_x_px"] == pytest.approx(sigma, abs=1e-5)
    assert f"blur1.sigma_x_px       {sigma:.3g}" in done.output


def test_an_edited_vector_changes_the_result_and_a_wrong_one_says_so(model, photo, tmp_path):
    def infer(*extra: str):
        arguments = ["infer", str(photo), "--model", str(model), "--out", str(tmp_path / "out"), "--force", *extra]
        return CliRunner().invoke(cli.cli, arguments)

    assert infer().exit_code == 0
    plain = np.array(Image.open(tmp_path / "out" / "photo.png"))
    assert infer("--vector", "blur1.sigma_x_px=3,noise1.sigma_8bit=5", "--vector", "order=jpeg2,sinc").exit_code == 0
    edited = np.array(Image.open(tmp_path / "out" / "photo.png"))
    net = load_model(model).net
    image = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 255
    changes = {"blur1.sigma_x_px": "3", "noise1.sigma_8bit": "5", "order": "jpeg2,sinc"}
    vector = vectors.edited(net.estimate(image).numpy(), changes)
    with torch.no_grad():
        wanted = net.for_image(image, torch.from_numpy(vector))(image)[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(edited - wanted).max() <= 0.5 + 1e-3
    assert (edited != plain).any()

    for text, message in (
        ("blur1.sigma_x=3", "no entry 'blur1.sigma_x'; did you mean 'blur1.sigma_x_px'?"),
        ("blur1.sigma_x_px=30", "blur1.sigma_x_px must be in [0.2, 3], got 30"),
        ("sharper", "--vector must be NAME=VALUE[,NAME=VALUE...], got 'sharper'"),
        ("blur1.sigma_x_px=1,blur1.sigma_x_px=2", "--vector: blur1.sigma_x_px is given twice"),
    ):
        failed = infer("--vector", text)
        assert isinstance(failed.exception, ValueError)
        assert message in str(failed.exception)


def test_only_adaptive_models_take_a_vector(photo, tmp_path):
    plain = _saved(tmp_path / "plain.pth", nets.SRResNetConfig(num_features=4, num_blocks=1))
    failed = CliRunner().invoke(degrade_cli.cli, ["estimate", str(photo), "--model", str(plain)])
    assert "must be a dasr model, which predicts degradations, got SRResNet" in str(failed.exception)


def test_a_sweep_keeps_the_ends_of_its_range():
    name, values = sweep._values("noise1.poisson_gain=0.05:3:4")
    assert (name, values[0], values[-1]) == ("noise1.poisson_gain", 0.05, 3.0)
    assert values == sorted(values)


def test_a_sweep_is_one_row_per_entry(model, photo, tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["sweep", str(photo), "--model", str(model), "-o", str(sheet), "--crop", "8"]
    done = CliRunner().invoke(
        cli.cli, [*arguments, "--vector", "blur1.sigma_x_px=0.2:3:3", "--vector", "noise1.sigma_8bit=1:30:4"]
    )
    assert done.exit_code == 0, done.output
    assert done.output.strip() == str(sheet)
    assert Image.open(sheet).size[0] > 4 * 256
    for text in ("blur1.sigma_x_px", "blur1.sigma_x_px=1", "blur1.sigma_x_px=a:b", "blur1.sigma_x_px=1:2:1"):
        failed = CliRunner().invoke(cli.cli, [*arguments, "--vector", text])
        assert "--vector must be NAME=LOW:HIGH[:COUNT]" in str(failed.exception)


@pytest.mark.slow
@pytest.mark.parametrize("gan", [0, 0.1])
def test_the_network_of_experts_trains_in_bf16_and_resumes_bit_for_bit(tmp_path, gan):
    """Its banks of kernels are 5-D: they have no channels-last layout, all other weights do."""
    change = (f"method.gan_weight={gan}", "train.precision=bf16")
    loop.fit(configuration(tmp_path / "whole", *change))
    loop.fit(configuration(tmp_path / "parts", *change, "run.steps=3"))
    loop.fit(configuration(tmp_path / "parts", *change), resume="auto")
    whole, parts = (load_state(saved_states(tmp_path / name / "states")[0][1])[0] for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    plain = configuration(tmp_path / "plain", change[0])
    loop.fit(plain)
    losses = {
        name: next(line["l1"] for line in read(tmp_path / name / "log.jsonl") if line["kind"] == "step")
        for name in ("whole", "plain")
    }
    assert losses["whole"] != losses["plain"]
    # bfloat16 keeps 8 bits; the loss is a mean over many pixels.
    assert losses["whole"] == pytest.approx(losses["plain"], rel=2e-2)


def test_auto_may_choose_bf16_for_the_network_of_experts(tmp_path, monkeypatch):
    monkeypatch.setattr(
        precision, "_least_seconds", lambda steps, device: [step() or 1.0 / (1 + n) for n, step in enumerate(steps)]
    )
    config = configuration(tmp_path, "method.gan_weight=0", "train.precision=auto", "run.steps=1")
    loop.fit(config)
    start = next(line for line in read(tmp_path / "log.jsonl") if line["kind"] == "start")
    assert start["precision"].startswith("bf16 with channels_last")

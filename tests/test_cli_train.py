"""The `pytrain` command: the way from a file to a model, one line and exit code 2 for everything wrong."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image

from pydegrade.commands.actions.gallery_evaluation import evaluation_of
from pydegrade.files.read import read_image, read_picture
from pytrain import nets
from pytrain.commands import cli
from pytrain.commands.actions.eval import labels
from pytrain.config import config, describe
from pytrain.errors import PytrainError
from pytrain.files import checkpoint
from pytrain.nets import SRResNetConfig
from pytrain.training import loop, memory
from pytrain.training.log import read as read_log
from pytrain.training.opening import build_method, check_phases

from .children import HANG_S, environment

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def pytrain(capsys):
    """Runs the command in this process."""

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(caught.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def project(tmp_path, photographs) -> Path:
    """A folder with four images in photos/, two in held/, and cfg.toml: a tiny network, six steps."""
    for number, crop in enumerate(photographs[:6]):
        folder = tmp_path / ("photos" if number < 4 else "held")
        folder.mkdir(exist_ok=True)
        pixels = (crop.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    out = json.dumps(str(tmp_path / "out"))
    (tmp_path / "cfg.toml").write_text(
        f"""
[run]
steps = 6
out = {out}
device = "cpu"
[net]
type = "srresnet"
scale = 2
num_features = 4
num_blocks = 1
[method]
type = "psnr"
[data]
hr = "photos"
crop_px = 32
batch = 2
[train]
precision = "fp32"
threads = 1
[[evaluate.sets]]
name = "held"
hr = "held"
[log]
every_steps = 2
""",
        encoding="utf-8",
    )
    return tmp_path


# ---- From a configuration to a model


@pytest.mark.slow
def test_check_opens_everything_and_prints_the_resolved_configuration(pytrain, project):
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    result = pytrain("check", project / "cfg.toml", "--set", "data.batch=4")
    assert (result.code, result.err) == (0, "")
    comments = [line for line in result.out.splitlines() if line.startswith("#")]
    text = "\n".join(comments)
    for said in (
        "# method: psnr, ",
        "# net generator: 1,259 parameters",
        "# data: 4 images",
        "crops of 32 px",
        "24 crops, 6 of each image",
        "# evaluation set held: 2 images, MATLAB bicubic x2",
        "# memory on cpu: about",
        "# digest of what",
    ):
        assert said in text, said
    loaded = config.load(project / "cfg.toml", ["data.batch=4"])
    assert config.loads(result.out, folder="/nowhere") == loaded
    assert config.digest(loaded) in text
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before


def test_fit_eval_infer_and_export(pytrain, project):
    result = pytrain("fit", project / "cfg.toml", "--set", "run.seed=5")
    assert (result.code, result.err) == (0, "")
    assert "6/6  l1 " in result.out
    assert re.search(
        r"^\d+:\d\d min; held/psnr [\d.]+, held/ssim [\d.]+; try: pytrain eval .*cfg\.toml$", result.out, re.M
    )
    out = project / "out"
    assert [record["step"] for record in read_log(out / "log.jsonl") if record["kind"] == "step"] == [2, 4, 6]
    assert config.load(out / "config.toml") == config.load(project / "cfg.toml", ["run.seed=5"])
    model = out / "models" / "best.safetensors"

    # The run's best model against bicubic, without naming either.
    scores = project / "scores.json"
    result = pytrain("eval", project / "cfg.toml", "--json", scores, "--per-image", "--save-images", project / "shown")
    assert result.code == 0
    rows = result.out.splitlines()
    assert [row.split()[:2] for row in rows[1:7:3]] == [["held", "4.png"], ["held", "4.png"]]
    assert "y-uint8-border2" in rows[1]
    assert [entry["model"] for entry in json.loads(scores.read_text())] == ["bicubic", "best.safetensors"]
    assert (project / "shown" / "best.safetensors" / "held" / "4.png").is_file()

    # The folder is what `degrade gallery` makes a page of: every image under every model, with its scores.
    shown = evaluation_of(project / "shown", 100)
    assert shown.scores.choices["model"] == ("bicubic", "bicubic", "best.safetensors", "best.safetensors")
    bicubic, _, best, _ = shown.scores.values["psnr-y-uint8-border2"]
    assert shown.scores.values["gain"][2] == pytest.approx(best - bicubic)
    hr, lr, made = shown.read(2)
    assert np.array_equal(made, read_image(project / "shown" / "best.safetensors" / "held" / shown.sources[2]))
    assert hr.shape == made.shape == (2 * lr.shape[0], 2 * lr.shape[1], 3)

    # The same numbers without the configuration.
    again = pytrain("eval", "--hr", project / "held", "--model", "bicubic", "--model", model, "--json", scores)
    assert [row.split()[-4:] for row in again.out.splitlines()[1:3]] == [rows[3].split()[-4:], rows[6].split()[-4:]]

    # Beside each other: a row per image, a column for each model and for HR.
    grid = project / "grid.png"
    result = pytrain(
        "compare", "--hr", project / "held", "--model", "bicubic", "--model", model, "--side", "24", "-o", grid
    )
    assert (result.code, result.out.strip()) == (0, str(grid))
    with Image.open(grid) as picture:
        assert picture.width > 3 * 192
        assert picture.height > 2 * 192

    # Upscaled images, and the model in other formats.
    result = pytrain("infer", project / "held", "--model", model, "--out", project / "up", "--suffix", "_x2")
    assert result.code == 0
    assert (project / "up" / "4_x2.png").is_file()
    with Image.open(project / "held" / "4.png") as small, Image.open(project / "up" / "4_x2.png") as large:
        assert large.size == (2 * small.width, 2 * small.height)
    result = pytrain("export", model, project / "copy.pth")
    assert (result.code, result.out.strip()) == (0, str(project / "copy.pth"))
    one, two = (
        checkpoint.load_model(model).net.state_dict(),
        checkpoint.load_model(project / "copy.pth").net.state_dict(),
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_a_run_can_be_drawn(pytrain, project):
    from pytrain.commands.actions import plot

    assert pytrain("fit", project / "cfg.toml", "--set", "evaluate.every_steps=3").code == 0
    records = read_log(project / "out" / "log.jsonl")
    name, steps, values = plot.losses(records)
    assert (name, steps, len(values)) == ("l1", [2, 4, 6], 3)
    assert plot.scores(records)["held"][0] == [3, 6]
    assert pytrain("plot", project / "out", "-o", project / "run.png").code == 0
    with Image.open(project / "run.png") as picture:
        assert picture.width > 2 * picture.height


def test_fit_refuses_a_folder_with_a_run_and_resume_continues_it(pytrain, project):
    assert pytrain("fit", project / "cfg.toml").code == 0
    result = pytrain("fit", project / "cfg.toml")
    assert result.code == 2
    assert "holds a run already; go on with --resume" in result.err
    # --resume before the file can only mean one thing.
    for arguments in (["--resume", project / "cfg.toml"], [project / "cfg.toml", "--resume"]):
        result = pytrain("fit", *arguments, "--set", "run.steps=8")
        assert result.code == 0, result.err
    assert [record["step"] for record in read_log(project / "out" / "log.jsonl") if record["kind"] == "step"][-1] == 8


@pytest.mark.slow
def test_ctrl_c_saves_and_leaves_with_130(project):
    command = [sys.executable, "-m", "pytrain", "fit", str(project / "cfg.toml"), "--set", "run.steps=100000"]
    command += ["--set", "log.every_steps=1"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "/100000 " in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, err
    assert "interrupted at step" in out
    assert err == ""
    assert list((project / "out" / "states").glob("*.safetensors"))


# ---- Everything wrong


WRONG = [
    (["fit"], "pytrain fit: Missing argument 'CONFIG'."),
    (["fit", "{p}/none.toml"], "pytrain: {p}/none.toml: cannot be read: No such file or directory"),
    (["fit", "{p}/cfg.toml", "--set", "run.stepps=3"], "pytrain: --set run.stepps=3: [run]: unknown key 'stepps'; did you"),
    (["fit", "{p}/cfg.toml", "--set", "data.hr=/none"], "pytrain: --set data.hr=/none: data.hr"),
    (["check", "{p}/cfg.toml", "--set", "data.crop_px=512"],
     "pytrain: {p}/cfg.toml:14: data.hr: {p}/photos: no usable image among 4: "),
    (["check", "{p}/cfg.toml", "--set", "method.space=realesrgan-x4"],
     "pytrain: --set method.space=realesrgan-x4: method.space must have the network's scale x2, got realesrgan-x4 x4"),
    (["check", "{p}/cfg.toml", "--set", "method.space=reals"],
     "pytrain: --set method.space=reals: method.space: no preset named 'reals'"),
    (["check", "{p}/cfg.toml", "--set", "optimizer.learning_rates.generater=1"],
     "pytrain: --set optimizer.learning_rates.generater=1: optimizer.learning_rates: must name phases (generator)"),
    (["check", "{p}/cfg.toml", "--set", "train.pretrained=/none.pth"],
     "pytrain: --set train.pretrained=/none.pth: train.pretrained: /none.pth: no such file"),
    (["fit", "{p}/cfg.toml", "--resume"], "pytrain: --resume: {p}/out/states holds no readable training state"),
    (["init", "--method", "psnrr"], "pytrain: --method: must be a known method, got 'psnrr'; did you mean 'psnr'?"),
    (["init", "--method", "psnr", "--out", "{p}/cfg.toml"], "pytrain: {p}/cfg.toml: exists already; choose another name"),
    (["eval"], "pytrain: eval: --model must name a model file or bicubic, got none"),
    (["compare", "--model", "bicubic-y-double", "-o", "{p}/a.png"],
     "pytrain: compare: --model bicubic-y-double is a protocol of luma alone and has no picture; give bicubic"),
    (["plot", "{p}"], "pytrain: {p}: must be the folder of a run, it has no config.toml"),
    (["eval", "--model", "bicubic"], "pytrain: eval: models must have one scale, got baselines only; give --scale"),
    (["eval", "--model", "{p}/none.pth"], "pytrain: {p}/none.pth: no such file"),
    (["eval", "{p}/cfg.toml"], "pytrain: {p}/out/models: holds no model yet; train first, or give --model FILE"),
    (["eval", "{p}/cfg.toml", "--hr", "x"], "pytrain: eval: CONFIG names the sets; leave out --hr"),
    (["eval", "--scale", "2", "--model", "bicubic", "--set", "a.b=1"], "pytrain: eval: --set changes options of CONFIG"),
    (["eval", "--scale", "2", "--model", "bicubic", "--hr", "{p}/none"], "pytrain: evaluate.sets (none): "),
    (["eval", "--scale", "2", "--model", "bicubic", "--protocol", "x"], "pytrain: evaluate.protocols must be like"),
    (["infer", "{p}/none", "--model", "m.pth", "--out", "x"], "pytrain: {p}/none: No such file or folder"),
    (["infer", "{p}/photos", "--model", "m.pth", "--out", "x"], "pytrain: m.pth: no such file"),
    (["infer", "{p}/photos", "--model", "m.pth", "--out", "x", "--tile", "32"],
     "pytrain infer: --tile must be above --overlap 32, got 32"),
    (["export", "{p}/none.pth", "{p}/x.onnx"], "pytrain: {p}/none.pth: no such file"),
    (["fitt"], "pytrain: No such command 'fitt'; did you mean 'fit'?"),
]  # fmt: skip


@pytest.mark.representatives(6)
@pytest.mark.parametrize(("arguments", "line"), WRONG, ids=[" ".join(entry[0])[:40] for entry in WRONG])
def test_bad_input_is_one_line_and_exit_code_2(pytrain, project, arguments, line):
    result = pytrain(*(argument.replace("{p}", str(project)) for argument in arguments))
    assert result.code == 2, result.err
    assert result.err.startswith(line.replace("{p}", str(project)))
    assert result.err.count("\n") == 1


def test_failures_on_the_way_are_one_line_and_exit_code_1(pytrain, project, monkeypatch):
    def fail(error):
        def run(*arguments, **options):
            raise error

        return run

    for error, line in [
        (PytrainError("step 7: loss nan"), "pytrain: step 7: loss nan"),
        (torch.OutOfMemoryError("CUDA out of memory"), "pytrain: out of memory; for training raise train.accumulate"),
        (OSError(28, "No space left on device"), "pytrain: No space left on device"),
    ]:
        monkeypatch.setattr(loop, "fit", fail(error))
        result = pytrain("fit", project / "cfg.toml")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert result.err.startswith(line)
    # A defect of ours keeps its traceback.
    monkeypatch.setattr(loop, "fit", fail(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["fit", str(project / "cfg.toml")])


# ---- Images


@pytest.fixture
def model(tmp_path) -> Path:
    torch.manual_seed(0)
    small = SRResNetConfig(scale=2, num_features=4, num_blocks=1)
    checkpoint.save_model(tmp_path / "model.safetensors", small, nets.build(small))
    return tmp_path / "model.safetensors"


def test_infer_keeps_channels_depth_and_folders_and_skips_what_is_there(pytrain, tmp_path, model):
    draw = np.random.default_rng(0)
    source = tmp_path / "in"
    (source / "deeper").mkdir(parents=True)
    shapes = {"gray.png": (9, 7), "alpha.png": (6, 5, 4), "deeper/color.png": (5, 8, 3)}
    for name, shape in shapes.items():
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(source / name)
    Image.fromarray(draw.integers(0, 65536, (4, 6)).astype(np.uint16)).save(source / "deep.png")
    (source / "broken.png").write_bytes(b"no image")
    arguments = ("infer", source, "--model", model, "--out", tmp_path / "out", "--device", "cpu")
    result = pytrain(*arguments, "--tile", "6", "--overlap", "2")
    assert result.code == 2
    assert "warning: skipped: " in result.err
    assert "broken.png" in result.err
    assert "pytrain infer: 1 of 5 images skipped" in result.err
    for name, shape in shapes.items():
        assert read_picture(tmp_path / "out" / name).array.shape == (2 * shape[0], 2 * shape[1], *shape[2:])
    deep = read_picture(tmp_path / "out" / "deep.png").array
    assert (deep.shape, deep.dtype) == ((8, 12), np.uint16)

    # Again: what is there stays, until it is asked for.
    (source / "broken.png").unlink()
    assert "4 results are there already" in pytrain(*arguments, "--tile", "6", "--overlap", "2").out
    # What is there but was changed, or made in another way, is made again.
    (tmp_path / "out" / "gray.png").write_bytes(b"mine")
    result = pytrain(*arguments, "--tile", "6", "--overlap", "2")
    assert (result.code, "3 results are there already" in result.out) == (0, True)
    assert read_picture(tmp_path / "out" / "gray.png").array.shape == (18, 14)
    result = pytrain(*arguments)
    assert (result.code, "are there already" in result.out) == (0, False)
    assert pytrain(*arguments, "--force", "--precision", "bf16").code == 0
    assert read_picture(tmp_path / "out" / "gray.png").array.shape == (18, 14)


def test_one_large_image_shows_its_tiles(pytrain, tmp_path, model, monkeypatch):
    from pydegrade.shell import progress

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOG_LINES", 0.0)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 8, 4), np.uint8)).save(tmp_path / "in.png")
    tiles = ("--tile", 12, "--overlap", 4)
    result = pytrain("infer", tmp_path / "in.png", "--model", model, "--out", tmp_path / "out", *tiles)
    assert result.code == 0
    # Two tiles of the colours, then two of alpha.
    assert [line.split()[0] for line in result.err.splitlines() if "tiles" in line] == ["1/2", "2/2", "1/2", "2/2"]


def test_eval_of_several_spaces_gives_a_row_for_each(pytrain, project, model):
    spaces = ("--space", "bicubic", "--space", "realesrgan-x2", "--seed", "3")
    models = ("--model", model, "--model", "bicubic")
    result = pytrain("eval", "--hr", project / "held", *models, *spaces, "--protocol", "rgb-uint8")
    assert result.code == 0, result.err
    rows = [row.split() for row in result.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["held-bicubic", "held-bicubic", "held-realesrgan-x2", "held-realesrgan-x2"]
    assert all(row[-3:] == ["rgb-uint8-border2", "against", "hr"] for row in rows)
    assert "/s3" in result.out


def test_models_with_the_same_name_are_told_apart():
    assert labels(["a/best.pth", "b/best.pth", "bicubic"]) == ["a_best.pth", "b_best.pth", "bicubic"]
    assert labels(["a/best.pth", "b/last.pth"]) == ["best.pth", "last.pth"]


# ---- Files to start from


def test_init_writes_a_file_that_loads(pytrain, tmp_path):
    path = tmp_path / "my.toml"
    result = pytrain("init", "--method", "psnr", "--net", "edsr", "--scale", 3, "-o", path)
    assert (result.code, result.out) == (0, f"{path}; try: pytrain check {path}\n")
    assert config.load(path).net == nets.EDSRConfig(scale=3)
    assert pytrain("init", "--method", "psnr", "-o", path, "--force").code == 0
    assert pytrain("init", "--method", "psnr").out == path.read_text()


def test_init_writes_quickstarts(pytrain, tmp_path):
    from pytrain.config.quickstart import quickstarts

    path = tmp_path / "my.toml"
    result = pytrain("init", "--quickstart", "-o", path)
    assert (result.code, result.out) == (0, f"{path}; try: pytrain fit {path}\n")
    assert config.load(path) == config.load(ROOT / "configs/quickstart.toml")
    assert {"quickstart", "dasr_tiny", "tgsr_tiny"} <= set(quickstarts())
    for name in quickstarts():
        assert pytrain("init", "--quickstart", name).code == 0
    assert "did you mean 'quickstart'" in pytrain("init", "--quickstart", "quikstart").err
    assert pytrain("init").code == pytrain("init", "--quickstart", "quickstart", "--method", "psnr").code == 2


def test_init_writes_the_folder_that_documents_name(pytrain, tmp_path, monkeypatch):
    """Paths of its files begin at its parent, those of a single quickstart at its own folder: `out` is there."""
    monkeypatch.chdir(tmp_path)
    result = pytrain("fit", "configs/eco_tiny.toml")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "`pytrain init --configs configs` writes it" in result.err
    assert pytrain("init", "--configs", "configs").code == pytrain("init", "--configs", "configs").code == 0
    written = {path.name for path in Path("configs").iterdir()}
    assert written == {path.name for path in (ROOT / "configs").glob("*.toml")}
    teacher = Path(config.load("configs/eco_tiny.toml").method.teacher)
    assert pytrain("init", "--quickstart", "eco_tiny", "-o", "eco.toml").code == 0
    assert teacher.resolve() == Path(config.load("eco.toml").method.teacher).resolve()
    assert teacher.resolve() == tmp_path.resolve() / "out/quickstart/models/last.safetensors"
    Path("configs/quickstart.toml").write_text("mine")
    result = pytrain("init", "--configs", "configs")
    assert (result.code, "quickstart.toml: exists already, with other contents" in result.err) == (2, True)
    assert pytrain("init", "--configs", "configs", "-o", "a.toml").code == 2


@pytest.mark.slow
def test_methods_lists_all_of_them(pytrain):
    result = pytrain("methods")
    assert result.code == 0
    for name in (*config.METHODS, *config.UPSCALERS):
        assert f"\n  {name} " in result.out


def test_the_schema_in_configs_is_this_version_s(pytrain):
    # After a change: python -m pytrain schema -o configs/pytrain.schema.json
    text = (ROOT / "configs" / "pytrain.schema.json").read_text(encoding="utf-8")
    assert pytrain("schema").out == text
    assert json.loads(text) == describe.schema()


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_shipped_configurations_load_and_build(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#:schema pytrain.schema.json\n#")
    loaded = config.load(path)
    assert loaded.run.name == path.stem.replace("_spandrel", "")
    assert loaded.evaluate.sets
    method = build_method(loaded)
    check_phases(loaded, method)
    if loaded.net.type != "spandrel":
        with torch.device("meta"):
            assert nets.build(loaded.net).scale == loaded.net.scale


def test_commands_in_the_documents_exist():
    lines = []
    for path in (ROOT / "README.md", ROOT / "docs" / "training.md", *CONFIGS):
        text = path.read_text(encoding="utf-8").replace("#   pytrain", "pytrain")
        lines += re.findall(r"^(?:torchrun .*? -m )?pytrain (.*)$", text, re.M)
    assert len(lines) > 12
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        # Parses the options; refuses what the command does not have.
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None, name
        command.make_context(name, arguments, parent=click.Context(cli.cli, **cli.cli.context_settings))


# ---- Weight of the command itself


def test_without_arguments_it_says_what_there_is(pytrain):
    result = pytrain()
    assert "First steps:" in result.out + result.err
    assert pytrain("--version").out.startswith("pytrain, version ")


@pytest.mark.slow
def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from pytrain.commands import cli\n"
        "try: cli.main(['fit', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'heavy imports'\n"
        "import pytrain; assert issubclass(pytrain.ConfigError, pytrain.PytrainError)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout


# ---- Memory


@pytest.mark.slow
def test_the_memory_of_shapes_is_that_of_real_tensors(project):
    """What autograd keeps, counted on the meta device, is what it keeps when the same step is computed."""
    loaded = config.load(project / "cfg.toml")
    method = build_method(loaded)
    real = {"generator": nets.build(loaded.net)}
    found = memory.estimate(loaded, method, real)
    weights = 4 * nets.num_parameters(real["generator"])
    assert (found.weights, found.gradients, found.moments, found.averages) == (weights, weights, 2 * weights, weights)

    kept = memory._Kept(list(real["generator"].parameters()))
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        hr = torch.rand(2, 3, 32, 32)
        loss = (real["generator"](torch.rand(2, 3, 16, 16)) - hr).abs().mean()
    assert loss.isfinite()
    # Equal but for what the loss itself keeps: one image batch in one form or the other.
    assert found.activations is not None
    assert abs(kept.total_bytes - found.activations) <= 4 * hr.numel()

    halves = config.load(project / "cfg.toml", ["train.accumulate=2"])
    assert memory.estimate(halves, method, real).activations == found.activations // 2
    assert "1 image at once" in memory.estimate(halves, method, real).describe()


@pytest.mark.slow
def test_memory_of_methods_with_several_networks(tmp_path):
    loaded = config.load(ROOT / "configs" / "realesrgan_x4plus.toml", ["method.perceptual_weight=0", "data.batch=4"])
    method = build_method(loaded)
    with torch.device("meta"):
        shapes = {"generator": nets.build(loaded.net), "discriminator": nets.build(loaded.method.discriminator)}
    found = memory.estimate(loaded, method, shapes)
    assert found.activations is not None
    # RRDBNet keeps 23 x 3 x 5 feature maps of at least 32 channels at 64 x 64, and their concatenations.
    assert found.activations > 4 * 64 * 64 * 4 * 23 * 3 * 5 * 32
    assert memory.size_text(1500) == "2 kB"
    assert memory.size_text(2.5e9) == "2.5 GB"
    assert memory.available_bytes(torch.device("cpu")) > 2**28


def test_all_errors_of_a_configuration_are_said_a_line_each(pytrain, project):
    wrong = ("--set", "data.batch=1000000000", "--set", "optimizer.eps=0", "--set", "trian.threads=1")
    result = pytrain("check", project / "cfg.toml", *wrong)
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [
        "pytrain: --set data.batch=1000000000: data.batch must be <= 65536, got 1000000000",
        "pytrain: --set optimizer.eps=0: optimizer.eps must be > 0, got 0",
        "pytrain: --set trian.threads=1: unknown section 'trian'; did you mean 'train'?",
    ]


@pytest.mark.slow
def test_check_decodes_every_training_image_and_names_those_that_it_cannot(pytrain, project):
    path = project / "photos" / "1.png"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    result = pytrain("check", project / "cfg.toml")
    assert result.code == 0, result.err
    named = [line for line in result.out.splitlines() if "training passes over it" in line]
    assert len(named) == 1
    assert path.name in named[0]
    assert "training passes over it" not in pytrain("check", project / "cfg.toml", "--headers-only").out
    path.write_bytes(content)
    assert "training passes over it" not in pytrain("check", project / "cfg.toml").out

"""The `pytrain` command. Everything heavy is imported by the command that needs it: `--help` must not wait for torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .adapt import adapt
from .device import chosen_device
from .group import group
from .sweep import sweep_command

if TYPE_CHECKING:
    from ..config.config import Config

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells number it (128 + SIGINT)."""

Command = TypeVar("Command", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and leaves with its exit code.

    0: done. 2: wrong usage or bad input, said in one line on stderr. 1: failure. 130: interrupted.
    """
    try:
        code = cli.main(args=arguments, prog_name="pytrain", standalone_mode=False)
    except click.ClickException as error:
        code = _usage_error(error)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("pytrain: interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has left (`| head`); Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _complain(f"pytrain: {error}", 2 if isinstance(error, FileNotFoundError) else 1)
    except Exception as error:
        known = _exit_code(error)
        if known is None:
            raise
        code = _complain(f"pytrain: {_text(error)}", known)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_error(error: click.ClickException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # click has it since 8.2
        click.echo(error.format_message(), err=True)
        return 2
    context = getattr(error, "ctx", None)
    name = context.command_path if context else "pytrain"
    return _complain(f"{name}: {error.format_message()} (see {name} --help)", 2)


def _version() -> str:
    try:
        return version("pydegrade")
    except PackageNotFoundError:  # the source tree on PYTHONPATH, not installed
        return "0+source"


def _complain(line: str, code: int) -> int:
    click.echo(" ".join(line.split()), err=True)
    return code


def _warn(line: str) -> None:
    click.echo(f"warning: {line}", err=True)


def _exit_code(error: Exception) -> int | None:
    """2 for what a user passed, 1 for what went wrong on the way, None for a defect of ours."""
    from pydegrade import PydegradeError

    from ..errors import CheckpointError, ConfigError, DataError, PytrainError

    if isinstance(error, (ConfigError, DataError, CheckpointError, PydegradeError)):
        return 2
    if isinstance(error, PytrainError) or _is_out_of_memory(error):
        return 1
    return None


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    is_host = isinstance(error, RuntimeError) and "not enough memory" in str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or is_host


def _text(error: Exception) -> str:
    if not _is_out_of_memory(error):
        return str(error)
    return (
        "out of memory; for training raise train.accumulate (same result) or lower data.batch or data.crop_px, for "
        "whole images give a smaller --tile; `pytrain check` estimates what a training needs"
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="pytrain")
def cli() -> None:
    """Train super-resolution networks on degradations that are drawn per image.

    \b
    First steps:
      pytrain fit configs/quickstart.toml             two minutes on two cores, nothing to download
      pytrain init --method realesrgan -o my.toml     a commented configuration with every option
      pytrain check my.toml                           open everything it names, before hours of training
      pytrain fit my.toml --resume                    go on where an interrupted run ended
    """


def _config_options(command: Command) -> Command:
    """The configuration file and what changes it."""
    setting = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help='Change an option: --set run.steps=500 --set \'data.hr=["a", "b"]\'. May be repeated.',
    )
    return click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))(setting(command))


def _model_options(command: Command) -> Command:
    """How a model is run on whole images."""
    options = (
        click.option("--tile", "tile_px", type=click.IntRange(min=0), default=0, metavar="PX",
                     help="Run in overlapping tiles of this side, in input pixels; 0: whole images.  [default: 0]"),
        click.option("--overlap", "overlap_px", type=click.IntRange(min=0), default=32, show_default=True, metavar="PX",
                     help="What neighbouring tiles share."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _load(path: Path, overrides: Sequence[str]) -> Config:
    from ..config import config

    return config.load(path, overrides)


def _located(config: Config, work: Callable[[], Any]) -> Any:
    """The result of `work`, whose errors about keys of the configuration get file and line."""
    from ..config.config import located
    from ..errors import PytrainError

    try:
        return work()
    except PytrainError as error:
        raise located(config, error) from None


# ---- fit


@cli.command()
@click.argument("config_path", metavar="CONFIG", required=False, type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Change an option: --set run.steps=500 --set 'data.hr=[\"a\", \"b\"]'. May be repeated.",
)  # fmt: skip
@click.option(
    "--resume", is_flag=False, flag_value="auto", metavar="[auto|FILE]",
    help="Go on from the newest state of the run's folder, or from a state file.",
)  # fmt: skip
def fit(config_path: Path | None, overrides: tuple[str, ...], resume: str | None) -> int:
    """Train as CONFIG says.

    The run's folder (run.out, else out/<run.name>) gets config.toml (the resolved configuration), log.jsonl, states/ for
    --resume, models/ (last and best, .safetensors and .pth) and images/. Ctrl-C saves and ends; the same command with
    --resume continues, bit for bit as if nothing had happened.

    \b
    Examples:
      pytrain fit configs/quickstart.toml
      pytrain fit my.toml --set run.name=second --set optimizer.learning_rate=1e-4
      torchrun --nproc-per-node=4 -m pytrain fit my.toml --resume
    """
    if config_path is None and resume is not None and resume.endswith(".toml"):
        # `pytrain fit --resume my.toml` can only mean this.
        config_path, resume = Path(resume), "auto"
    if config_path is None:
        raise click.UsageError("Missing argument 'CONFIG'.", click.get_current_context())
    config = _load(config_path, overrides)
    from ..training.loop import fit as run

    result = _located(config, lambda: run(config, resume=resume))
    if result.interrupted:
        return INTERRUPTED
    if result.files:  # only the main process has written any
        minutes, seconds = divmod(round(result.seconds), 60)
        scores = ", ".join(f"{name} {score:.4g}" for name, score in result.scores.items())
        click.echo(
            "; ".join(filter(None, (f"{minutes}:{seconds:02d} min", scores, f"try: pytrain eval {config_path}")))
        )
    return 0


# ---- check


@cli.command()
@_config_options
def check(config_path: Path, overrides: tuple[str, ...]) -> None:
    """Open everything that CONFIG names, and print what a run would do.

    Reads every folder, list, space, model file and evaluation set; checks sizes, pairs and scale; estimates the memory of
    a step. Prints the resolved configuration, with comments for what was found; nothing is trained or written.

    \b
    Example:
      pytrain check configs/quickstart.toml --set data.hr=DIV2K_train_HR
    """
    config = _load(config_path, overrides)
    for line in _located(config, lambda: _findings(config)):
        click.echo(f"# {line}")
    from ..config.config import to_toml

    click.echo(to_toml(config), nl=False)


def _findings(config: Config) -> list[str]:
    """What `check` found, one line each."""
    import torch

    from .. import nets
    from ..config.config import digest, method_name
    from ..data.source import open_source
    from ..evaluation.evaluate import open_sets, score_names
    from ..methods.registry import METHODS
    from ..training import log, loop, memory

    # Open everything, cheapest first; each of these raises one clear line.
    log.check_packages(config.log)
    method = loop.build_method(config)
    loop.check_phases(config, method)
    loop.check_groups(config, method)
    scale = int(config.net.scale)
    source = open_source(config.data, method.images, scale, config.run.seed)
    sets = open_sets(config.evaluate, scale, nets.task_scales(config.net))
    loop.check_kept(config, score_names(config.evaluate, sets))
    with torch.random.fork_rng(devices=[]):
        networks = loop.fresh_nets(config, method, torch.device("cpu"))

    name = method_name(config.method)
    lines = [f"method: {name}, {METHODS[name].summary}"]
    lines += [f"net {name}: {nets.num_parameters(net):,} parameters" for name, net in networks.items()]
    lines.append(f"data: {source.describe()}")
    lines += [f"note: {note}" for note in source.notes]
    lines += [f"evaluation set {one.name}: {len(one.hr.images)} images, {one.degradation}" for one in sets]
    samples = config.run.steps * config.data.batch
    crops = f"{samples:,} crops, {samples / len(source.images['hr'].images):,.0f} of each image"
    lines.append(f"run: {config.run.steps:,} steps of {config.data.batch} images, {crops}")

    device = chosen_device(config.run.device)
    needed, available = memory.estimate(config, method, networks), memory.available_bytes(device)
    lines.append(f"memory on {device}: {needed.describe()}")
    if available is not None and needed.total > available:
        lines.append(
            f"warning: {device} has {memory.size_text(available)}; raise train.accumulate (same result) or lower "
            "data.batch or data.crop_px"
        )
    lines.append(f"results: {loop.out_folder(config)}")
    lines.append(f"digest of what determines the weights: {digest(config)}")
    return lines


# ---- init, schema, methods


@cli.command()
@click.option("--method", required=True, help="See `pytrain methods`.")
@click.option("--net", help="Network; default: what the method was published with.")
@click.option("--scale", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: stdout]")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(method: str, net: str | None, scale: int, out: Path | None, force: bool) -> None:
    """Write a commented configuration with every option, to start from.

    \b
    Examples:
      pytrain init --method psnr --net edsr --scale 2 -o edsr.toml
      pytrain init --method realesrgan -o my.toml
    """
    from ..config.describe import template
    from ..errors import ConfigError

    if out is not None and out.exists() and not force:
        raise ConfigError(f"{out}: exists already; choose another name or give --force")
    text = template(method, net, scale)
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    click.echo(f"{out.resolve()}; try: pytrain check {out}")


@cli.command()
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: stdout]")
def schema(out: Path | None) -> None:
    """Print the JSON schema of configurations, for editors.

    Editors that know TOML schemas (taplo, Even Better TOML) complete and check a file whose first line is
    `#:schema pytrain.schema.json`.
    """
    import json

    from ..config.describe import schema as described

    text = json.dumps(described(), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text)
        click.echo(str(out.resolve()))


def _write(path: Path, text: str) -> None:
    from ..files.checkpoint import atomic_write

    def fill(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    atomic_write(path, fill)


@cli.command()
def methods() -> None:
    """List training methods and networks."""
    from ..config.config import TRAINABLE
    from ..methods.registry import METHODS
    from ..training.log import text_table

    rows = [[name, f"{entry.summary} ({entry.paper})"] for name, entry in METHODS.items()]
    width = max(len(name) for name, _ in rows)
    click.echo("Methods (method.type):")
    for name, text in rows:
        click.echo(f"  {name:<{width}}  {text}")
    click.echo("Networks (net.type):")
    for line in text_table("", ["", "parameters", "scale"], [_net_row(name) for name in TRAINABLE])[1:]:
        click.echo(f"  {line}")


def _net_row(name: str) -> list[str]:
    """Name, size at its default configuration and scale."""
    import torch

    from .. import nets

    if name == "spandrel":
        return [name, "any", "any"]
    with torch.device("meta"):
        net = nets.build(nets.NETS[name].config())
    return [name, f"{nets.num_parameters(net):,}", f"x{net.scale}"]


# ---- eval


@cli.command("eval")
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option of CONFIG.")
@click.option(
    "--model", "models", multiple=True, metavar="FILE|bicubic",
    help="Model file, or a baseline: bicubic, bicubic-y-double. May be repeated.  "
    "[default: bicubic, and the best model of CONFIG's run]",
)  # fmt: skip
@click.option("--hr", multiple=True, type=click.Path(path_type=Path), help="Without CONFIG: a set of clean images.")
@click.option("--lr", type=click.Path(path_type=Path), help="Without CONFIG: the low-resolution partners of --hr.")
@click.option(
    "--space", "spaces", multiple=True, metavar="NAME",
    help="Without CONFIG: how LR is made: bicubic (MATLAB's, 8 bits), a preset or a TOML file. May be repeated.  "
    "[default: bicubic]",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the tasks of --space.")
@click.option("--scale", type=click.IntRange(1, 8), help="Needed where only baselines are measured without CONFIG.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="Such as y-uint8 or rgb-uint8-border0.")
@click.option("--per-image", is_flag=True, help="A line for every image.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Also write all numbers here."
)
@click.option("--save-images", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Write results here.")
@_model_options
def evaluate_models(
    config_path: Path | None,
    overrides: tuple[str, ...],
    models: tuple[str, ...],
    hr: tuple[Path, ...],
    lr: Path | None,
    spaces: tuple[str, ...],
    seed: int,
    scale: int | None,
    protocols: tuple[str, ...],
    per_image: bool,
    json_path: Path | None,
    folder: Path | None,
    tile_px: int,
    overlap_px: int,
    device: str,
) -> None:
    """Measure PSNR and SSIM of models, on the sets of CONFIG or on --hr.

    Every number comes with its protocol: channel, rounding, border. LR is made by MATLAB's bicubic or by degradation
    spaces with a fixed seed, one table row per set and model.

    \b
    Examples:
      pytrain eval configs/quickstart.toml
      pytrain eval --hr Set5 --model edsr.pth --model bicubic
      pytrain eval --hr DIV2K_valid_HR --model x4plus.pth --space realesrgan-x4 --space bicubic --json scores.json
    """
    from dataclasses import replace

    from pydegrade.commands.progress import Progress

    from ..errors import ConfigError
    from ..evaluation import evaluate as measuring
    from ..files.checkpoint import load_model
    from ..nets import task_scales

    # What to measure, and on what.
    where = chosen_device(device)
    if config_path is not None:
        if hr or lr or spaces or scale:
            raise ConfigError("eval: CONFIG names the sets; leave out --hr, --lr, --space and --scale")
        config = _load(config_path, overrides)
        settings, scale = config.evaluate, int(config.net.scale)
        if not settings.sets:
            raise ConfigError(f"{config_path}: evaluate.sets must name at least one set, got none")
        models = models or ("bicubic", _best_model(config))
    else:
        if overrides:
            raise ConfigError("eval: --set changes options of CONFIG, got no CONFIG")
        if not models:
            raise ConfigError("eval: --model must name a model file or bicubic, got none")
        settings = _sets_of(hr, lr, spaces, seed)
    loaded = {name: None if name in BASELINES else load_model(name, scale=scale) for name in models}
    scales = {_scale_of(model.net) for model in loaded.values() if model is not None} | ({scale} if scale else set())
    if len(scales) != 1:
        got = " and ".join(f"x{one}" for one in sorted(scales)) or "baselines only; give --scale"
        raise ConfigError(f"eval: models must have one scale, got {got}")
    settings = replace(settings, protocols=protocols or settings.protocols)
    if tile_px:
        settings = replace(settings, tile_px=tile_px, overlap_px=overlap_px)
    if folder is not None:
        settings = replace(settings, save_images=2**31)

    # Measure.
    configs = [model.config for model in loaded.values() if model is not None]
    configs += [config.net] if config_path is not None else []
    tasks = {task: own for one in configs for task, own in task_scales(one).items()}
    sets = measuring.open_sets(settings, scales.pop(), tasks)
    progress = Progress(len(models) * sum(len(one.hr.images) for one in sets), 0, "images")
    results = []
    try:
        for label, (name, model) in zip(_labels(models), loaded.items()):
            net: Any = name if model is None else model.net.to(where)
            into = None if folder is None else folder / label
            results.append(
                measuring.evaluate(net, sets, settings, into, None, label, lambda done, total: progress.advance(1))
            )
    finally:
        progress.close()
    click.echo(measuring.table(results, per_image), nl=False)
    if json_path is not None:
        _write(json_path, "[" + ",\n".join(result.to_json().rstrip() for result in results) + "]\n")
    for path in filter(None, (json_path, folder)):
        click.echo(str(path.resolve()))


def _scale_of(net: Any) -> int:
    return int(net.scale)


BASELINES = ("bicubic", "bicubic-y-double")


def _best_model(config: Config) -> str:
    """The best model file of a configuration's run, else its last."""
    from ..errors import ConfigError
    from ..training.loop import out_folder

    folder = out_folder(config) / "models"
    for name in ("best", "last"):
        if (folder / f"{name}.safetensors").is_file():
            return str(folder / f"{name}.safetensors")
    raise ConfigError(f"{folder}: holds no model yet; train first, or give --model FILE")


def _sets_of(hr: tuple[Path, ...], lr: Path | None, spaces: tuple[str, ...], seed: int) -> Any:
    """The evaluation that --hr, --lr and --space describe: one set per space."""
    from ..evaluation.evaluate import EvalSetConfig, EvaluateConfig

    name = hr[0].resolve().name if hr else "photographs"
    sources = tuple(map(str, hr))
    if lr is not None:
        return EvaluateConfig(sets=(EvalSetConfig(name, sources, lr=str(lr)),))
    kinds = spaces or ("bicubic",)
    return EvaluateConfig(
        sets=tuple(
            EvalSetConfig(
                name if len(kinds) == 1 else f"{name}-{Path(space).stem}",
                sources,
                space="" if space == "bicubic" else space,
                seed=seed,
            )
            for space in kinds
        )
    )


def _labels(models: Sequence[str]) -> list[str]:
    """Short names: of files the last part, with the folders before it where that is needed to tell them apart."""
    parts = [Path(name).parts if name not in BASELINES else (name,) for name in models]
    for length in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(entry[-length:]).removeprefix("//") for entry in parts]
        if len(set(labels)) == len(set(models)):
            break
    return [label.replace("/", "_") for label in labels]


# ---- infer


@cli.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", "model_path", required=True, type=click.Path(path_type=Path), help="Model file.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option("--suffix", default="", help="Put behind each name: photo.jpg -> photoSUFFIX.png.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--max-megapixels", type=click.FloatRange(min=0, min_open=True), help="Refuse larger inputs.")
@click.option("--force", is_flag=True, help="Make results again that are there already.")
@click.option(
    "--vector",
    "vector_texts",
    multiple=True,
    metavar="NAME=VALUE[,...]",
    help="dasr models: entries of the degradation vector set by you: blur1.sigma_x_px=2.5,noise1.sigma_8bit=5.",
)
@click.option("--task", metavar="NAME", help="ipt models of several tasks: which one, sr-x2 or denoise-30.")
@_model_options
def infer(
    inputs: tuple[Path, ...],
    model_path: Path,
    out: Path,
    suffix: str,
    precision: str,
    max_megapixels: float | None,
    force: bool,
    vector_texts: tuple[str, ...],
    task: str | None,
    tile_px: int,
    overlap_px: int,
    device: str,
) -> int:
    """Upscale images: files, or folders with the folders in them.

    Results are PNG with the channels and the depth of their input: gray stays gray, alpha is upscaled too, 16 bits stay
    16 bits. Below OUT, they lie as the inputs lie in their folder. Results that exist already are kept, so an interrupted
    command can be repeated.

    \b
    Examples:
      pytrain infer photos --model out/quickstart/models/best.safetensors --out upscaled
      pytrain infer big.tif --model RealESRGAN_x4plus.pth --out upscaled --tile 512
      pytrain infer photos --model dasr.safetensors --out sharper --vector blur1.sigma_x_px=2.5
    """
    from pydegrade import ImageError
    from pydegrade.commands.progress import Progress

    from ..files.checkpoint import load_model
    from ..nets import task_scales

    where = chosen_device(device)
    if 0 < tile_px <= overlap_px:
        raise click.UsageError(f"--tile must be above --overlap {overlap_px}, got {tile_px}")
    files = _named_inputs(inputs, suffix)
    loaded = load_model(model_path)
    net = loaded.net.to(where)
    if task is not None or len(task_scales(loaded.config)) > 1:
        net = _of_task(net, task, str(model_path))
    if vector_texts:
        from ..evaluation.steering import Steered, adaptive, parse_changes

        net = Steered(adaptive(net, str(model_path)), parse_changes(vector_texts))
    click.echo(f"{model_path}: {loaded.config.type} x{net.scale}, {len(files)} images, on {where}")
    todo = [(name, path) for name, path in files if force or not (out / name).exists()]
    if len(todo) < len(files):
        click.echo(f"{len(files) - len(todo)} results are there already (--force makes them again)")
    progress = Progress(len(files), len(files) - len(todo), "images")
    # One large image: its tiles say how far it is.
    tiles = _tile_progress() if len(todo) == 1 else None
    failed = 0
    try:
        for name, path in todo:
            try:
                _upscale_file(net, path, out / name, tile_px, overlap_px, precision, max_megapixels, tiles)
            except (ImageError, OSError) as error:
                progress.close()
                _warn(f"skipped: {error}")
                failed += 1
                continue
            progress.advance(1)
    finally:
        progress.close()
    click.echo(f"  {out.resolve()}")
    return _complain(f"pytrain: {failed} of {len(files)} images skipped", 2) if failed else 0


def _of_task(net: Any, task: str | None, where: str) -> Any:
    """A network of several tasks as a network of one."""
    from ..errors import ConfigError
    from ..nets import IPT

    if not isinstance(net, IPT):
        raise ConfigError(f"--task: must be left out, {where} has no tasks; got {task!r}")
    if task is None:
        raise ConfigError(f"--task: must be one of {', '.join(net.tasks)}, the tasks of {where}; got none")
    return net.one_task(task)


def _named_inputs(inputs: tuple[Path, ...], suffix: str) -> list[tuple[str, Path]]:
    """(name of the result below the output folder, input); names must differ."""
    from pydegrade import ImageError
    from pydegrade.files.io import list_images

    named: dict[str, Path] = {}
    for source in inputs:
        if not source.exists():
            raise FileNotFoundError(2, "No such file or folder", str(source))
        found = [(path.relative_to(source), path) for path in list_images(source)] if source.is_dir() else []
        for relative, path in found or [(Path(source.name), source)]:
            name = relative.with_name(f"{relative.stem}{suffix}.png").as_posix()
            if name in named:
                raise ImageError(f"{path}: its result {name} is also that of {named[name]}; run them one by one")
            named[name] = path
    return list(named.items())


def _tile_progress() -> Callable[[int, int], None]:
    """A bar over the tiles of an image; alpha starts another one."""
    from pydegrade.commands.progress import Progress

    bars: list[Progress] = []
    counted = 0

    def note(done: int, total: int) -> None:
        nonlocal counted
        if not bars or done <= counted:
            bars.append(Progress(total, 0, "tiles"))
            counted = 0
        bars[-1].advance(done - counted)
        counted = done
        if done == total:
            bars[-1].close()

    return note


def _upscale_file(
    net: Any,
    path: Path,
    target: Path,
    tile_px: int,
    overlap_px: int,
    precision: str,
    max_megapixels: float | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    import contextlib

    import torch

    from pydegrade.files.io import MAX_PIXELS, encode_png_array, read_array, write_atomic

    from ..evaluation.infer import upscale_array

    array = read_array(path, round(max_megapixels * 1e6) if max_megapixels else MAX_PIXELS)
    device = next(net.parameters()).device
    numbers = {"bf16": torch.bfloat16, "fp16": torch.float16}
    cast = torch.autocast(device.type, numbers[precision]) if precision in numbers else contextlib.nullcontext()
    with cast:
        result = upscale_array(net, array, tile_px or None, overlap_px, progress)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, encode_png_array(result))


# ---- export


@cli.command()
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
def export(model_path: Path, target: Path) -> None:
    """Write MODEL as OUT, whose ending chooses the format: .safetensors, .pth or .onnx.

    The keys are those that spandrel, chaiNNer and the BasicSR family expect. ONNX files take any height and width, and
    are compared with torch at two sizes where onnxruntime is installed.

    \b
    Examples:
      pytrain export out/quickstart/models/best.safetensors quickstart.onnx
      pytrain export RealESRGAN_x4plus.pth x4plus.safetensors
    """
    from ..evaluation.export import OnnxReport, convert

    done = convert(model_path, target)
    if isinstance(done, OnnxReport):
        sizes = f"sides of multiples of {done.multiple_px} px" if done.multiple_px > 1 else "any size"
        checked = f"largest relative difference to torch {done.max_difference:.1e}"
        click.echo(f"{sizes}, {checked if done.verified else 'not compared with torch: onnxruntime is not installed'}")
    click.echo(str(target.resolve()))


cli.add_command(adapt)
cli.add_command(group)
cli.add_command(sweep_command)

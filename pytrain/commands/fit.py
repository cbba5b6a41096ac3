"""`pytrain fit`: train as a configuration says."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

import click

from pydegrade.shell import INTERRUPTED, say, set_option

from .options import SET_HELP, load_config, located


@click.command(name="fit", short_help="Train as CONFIG says.")
@click.argument("config_path", metavar="CONFIG", required=False, type=click.Path(path_type=Path))
@set_option(SET_HELP)
@click.option(
    "--resume", is_flag=False, flag_value="auto", metavar="[auto|FILE]",
    help="Go on from the newest state of the run's folder, or from a state file.",
)  # fmt: skip
def command(config_path: Path | None, overrides: tuple[str, ...], resume: str | None) -> int:
    """Train as CONFIG says.

    The run's folder (run.out, else out/<run.name>) gets config.toml (the resolved configuration), log.jsonl, states/ for
    --resume, models/ (last and best, .safetensors and .pth) and images/. Ctrl-C saves and ends; the same command with
    --resume continues, bit for bit as if nothing had happened.

    \b
    Examples:
      pytrain fit configs/quickstart.toml
      pytrain fit my.toml --set run.name=second --set run.steps=500
      torchrun --nproc-per-node=4 -m pytrain fit my.toml --resume
    """
    if config_path is None and resume is not None and resume.endswith(".toml"):
        # `pytrain fit --resume my.toml` can only mean this.
        config_path, resume = Path(resume), "auto"
    if config_path is None:
        raise click.UsageError("Missing argument 'CONFIG'.", click.get_current_context())
    config = load_config(config_path, overrides)
    from pydegrade.files import folder_lock
    from pydegrade.shell import check_folder

    from ..evaluation.sets import pictures_of, sources_of
    from ..training.loop import fit
    from ..training.opening import out_folder

    folder = out_folder(config)
    sources = [*map(Path, config.data.hr), *sources_of(config.evaluate)]
    check_folder(folder, sources, "run.out", pictures_of(config.evaluate, folder / "images"))
    is_main = os.environ.get("RANK", "0") == "0"
    with folder_lock(folder) if is_main else contextlib.nullcontext():
        result = located(config, lambda: fit(config, resume=resume))
    if result.interrupted:
        return INTERRUPTED
    if result.files:  # only the main process has written any
        minutes, seconds = divmod(round(result.seconds), 60)
        scores = ", ".join(f"{name} {score:.4g}" for name, score in result.scores.items())
        then = f"try: pytrain eval {shlex.quote(str(config_path))}"
        say("; ".join(filter(None, (f"{minutes}:{seconds:02d} min", scores, then))))
    return 0

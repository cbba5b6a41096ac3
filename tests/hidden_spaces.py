"""Folders made by hidden spaces, and how often the intervals of `degrade fit` hold what is true of them. No test: minutes.

    python -m tests.hidden_spaces --hr PHOTOGRAPHS... --spaces 20 --photographs 50 --simulations 1500

Photographs are made of the images of --hr, simulations of those that ship with scikit-image. A hidden space has its own
blur, noise and JPEG, from narrow to wide, anywhere in the wide space; with --rounds 2 its own blurs, noises and JPEGs, in
all else Real-ESRGAN's space, which fitting then begins with. Simulations and networks are those of one fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pydegrade
from pydegrade.files.dataset import find_images
from pydegrade.fitting.match import nearest_share
from pydegrade.fitting.parameters import drawn, parameters_of
from pydegrade.fitting.population import population
from pydegrade.fitting.posterior import posteriors
from pydegrade.fitting.prior import wide_space
from pydegrade.fitting.simulate import Simulator, holding
from pydegrade.fitting.space_file import fitted_space
from pydegrade.fitting.statistics import statistics
from pydegrade.tasks.space import Space

JUDGED = ("jpeg1.quality", "noise1.level_8bit", "blur1.width_px")
JUDGED_OF_TWO = (*JUDGED, "jpeg2.quality", "noise2.level_8bit", "blur2.width_px")
MAX_PIXELS = 2**27


def _part(words: np.random.Generator, low: float, high: float, least: float) -> str:
    width = words.uniform(least, (high - low) * 0.6)
    begin = words.uniform(low, high - width)
    return f"{{ uniform = [{begin:.3f}, {begin + width:.3f}] }}"


def hidden_space(number: int, scale: int) -> Space:
    """A space of one round."""
    words = np.random.Generator(np.random.Philox(number + 1000))

    def part(low: float, high: float, least: float) -> str:
        return _part(words, low, high, least)

    sigma = part(0.3, 2.4, 0.1)
    kind = ("gaussian", "poisson")[number % 2]
    noise = f"sigma_8bit = {part(1, 25, 1)}" if kind == "gaussian" else f"poisson_gain = {part(0.1, 2.0, 0.1)}"
    quality = part(30, 96, 4).replace(" }", ", round = true }")
    return Space.loads(f"""
[space]
name = "hidden-{number}"
scale = {scale}
source = "tests"
[[slot]]
name = "blur1"
op = "blur"
shape = "{("iso", "aniso")[number // 2 % 2]}"
size_px = 21
sigma_x_px = {sigma}
sigma_y_px = {sigma}
angle_rad = {{ uniform = [-3.14, 3.14] }}
[[slot]]
name = "down"
op = "resize"
rule = "final"
mode = "torch_bicubic"
[[slot]]
name = "noise1"
op = "noise"
kind = "{kind}"
{noise}
gray = {number // 4 % 2}
[[slot]]
name = "jpeg1"
op = "jpeg"
mode = "libjpeg"
quality = {quality}
""")


def hidden_space_of_two(number: int, scale: int) -> Space:
    """A space of two rounds: Real-ESRGAN's, with a part of its ranges."""
    words = np.random.Generator(np.random.Philox(number + 2000))
    slots = []
    for turn, sigma_px, sigma_8bit, gain in ((1, 3.0, 30, 3.0), (2, 1.5, 25, 2.5)):
        sigma = _part(words, 0.2, sigma_px, 0.1)
        slots.append(f"""
[[slot]]
name = "blur{turn}"
sigma_x_px = {sigma}
sigma_y_px = {sigma}
[[slot]]
name = "noise{turn}"
sigma_8bit = {_part(words, 1, sigma_8bit, 1)}
poisson_gain = {_part(words, 0.05, gain, 0.1)}
[[slot]]
name = "jpeg{turn}"
quality = {_part(words, 30, 95, 4).replace(" }", ", round = true }")}
""")
    return Space.loads(f"""
[space]
name = "hidden-two-{number}"
base = "realesrgan-x{scale}"
{"".join(slots)}""")


def truth(space: Space, name: str) -> float:
    """Mean of a parameter over the space, of 4000 tasks."""
    found = drawn(pydegrade.sample(space, 5, range(4000)), name)
    return float(found.values[found.acts].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hr", nargs="+", type=Path, required=True)
    for name, default in (
        ("spaces", 20),
        ("first", 0),
        ("photographs", 50),
        ("simulations", 1500),
        ("scale", 2),
        ("side", 128),
        ("rounds", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kept", type=Path, default=None)
    parser.add_argument("--neighbours", type=int, default=5, help="Spaces for the nearest neighbours.")
    given = parser.parse_args()

    two = given.rounds == 2
    start = Space.load(f"realesrgan-x{given.scale}") if two else wide_space(given.scale)
    made_by, judged = (hidden_space_of_two, JUDGED_OF_TWO) if two else (hidden_space, JUDGED)
    clean = holding(find_images([]), given.side * given.scale)
    hidden_hr = holding(find_images(given.hr), given.side * given.scale)
    made = Simulator(start, clean, given.side, 1, MAX_PIXELS).run(given.simulations, given.kept, lambda _: None)
    parameters = parameters_of(made.tasks)
    values = [drawn(made.tasks, one.name) for one in parameters]
    cells = [one.cell_of(value) for one, value in zip(parameters, values)]

    spaces = [made_by(number, given.scale) for number in range(given.first, given.first + given.spaces)]
    folders: list[NDArray[np.float32]] = []
    for number, space in enumerate(spaces):
        squares, _ = Simulator(space, hidden_hr, given.side, 100 + given.first + number, MAX_PIXELS).squares(
            range(given.photographs)
        )
        folders.append(statistics(np.stack(squares)))
    found = posteriors(made.statistics, made.image, cells, parameters, np.concatenate(folders))

    held: dict[str, list[bool]] = {name: [] for name in judged}
    told: dict[str, list[bool]] = {name: [] for name in judged}
    widths: dict[str, list[float]] = {name: [] for name in judged}
    for number, space in enumerate(spaces):
        rows = slice(number * given.photographs, (number + 1) * given.photographs)
        populations = [
            population(
                one, found.simulated[k], cells[k], values[k].values, made.image, found.seen[k][rows],
                np.arange(given.photographs), found.information[k], k,
            )
            for k, one in enumerate(parameters)
            if number < given.neighbours or one.name in judged
        ]  # fmt: skip
        line = [space.name]
        for one in populations:
            if one.parameter.name in judged and one.mean is not None:
                true = truth(space, one.parameter.name)
                held[one.parameter.name].append(one.mean.low <= true <= one.mean.high)
                told[one.parameter.name].append(one.identified)
                widths[one.parameter.name].append(one.mean.high - one.mean.low)
                mark = " " if held[one.parameter.name][-1] else "*"
                line.append(f"{true:7.2f}{mark} {one.mean.value:7.2f} ({one.mean.low:.2f} to {one.mean.high:.2f})")
        if number < given.neighbours:
            fitted, *_ = fitted_space(start, populations, "fitted", given.photographs)
            for images, what in ((clean, "other scenes"), (hidden_hr, "the same scenes")):
                simulator = Simulator(fitted, images, given.side, 900 + number, MAX_PIXELS)
                squares, _ = simulator.squares(range(given.photographs))
                share = nearest_share(folders[number], statistics(np.stack(squares)))
                line.append(f"{what} {100 * share:.0f} %")
        print("; ".join(line), flush=True)
    for name, hits in held.items():
        print(
            f"{name}: {sum(hits)} of {len(hits)} intervals hold the mean, middle width {np.median(widths[name]):.3g}; "
            f"{sum(told[name])} are called identified"
        )


if __name__ == "__main__":
    main()

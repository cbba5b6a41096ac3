"""The page of `degrade fit`: photographs beside simulations of the fitted space, parameters, statistics."""

from __future__ import annotations

import hashlib
import html
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...files.paths import display_name
from ...fitting.fit import Fit
from ...fitting.match import nearest_share
from ...fitting.photographs import Photograph
from ...fitting.population import Population
from ...fitting.simulate import Simulator
from ...fitting.space_file import said
from ...fitting.statistics import NAMES, describe, statistics

SHOWN = 16
COMPARED = 96
PAGE_BEGINS = "<!doctype html><!-- degrade fit -->"
"""By which a page is known."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 20px auto; padding: 0 16px; }
h1 { font-size: 20px; } h2 { font-size: 16px; margin-top: 28px; }
.patches { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 6px; }
.patches img { width: 100%; image-rendering: pixelated; display: block; }
table { border-collapse: collapse; } td, th { padding: 3px 10px 3px 0; text-align: left; vertical-align: top; }
tr + tr td { border-top: 1px solid rgb(136 136 136 / .27); }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.faint { opacity: .65; } .off td { background: rgb(224 168 0 / .13); }
pre { overflow: auto; background: rgb(136 136 136 / .07); padding: 10px; }
"""


def fit_page(photographs: Sequence[Photograph], fit: Fit, simulator: Simulator) -> bytes:
    """One HTML file without scripts, that loads nothing."""
    count = min(COMPARED, max(SHOWN, len(photographs)))
    fitted = Simulator(fit.space, simulator.images, simulator.side_px, simulator.seed + 1, simulator.max_pixels)
    made, _ = fitted.squares(range(count))
    simulated = np.stack([statistics(square[None])[0] for square in made])
    first = np.array([int(np.flatnonzero(fit.photograph == k)[0]) for k in range(len(photographs))])
    told_apart = nearest_share(fit.seen[first], simulated)
    middle = [one.squares[0] for one in photographs]
    chosen = [middle[k] for k in np.linspace(0, len(middle) - 1, min(SHOWN, len(middle))).astype(int)]
    title = html.escape(f"{fit.space.name}: learned from {len(photographs)} photographs")
    digest = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    begun = f"{simulator.space.name}@{simulator.space.digest[:8]}"
    images = f"{len(simulator.images.images)} clean images ({simulator.images.origin})"
    notes = "".join(f"<li>{html.escape(display_name(note))}</li>" for note in fit.notes) or "<li>nothing</li>"
    facts = "".join(f"<p>{html.escape(display_name(fact))}</p>" for fact in fit.facts)
    page = f"""{PAGE_BEGINS}
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<p>Begun with {html.escape(begun)}, {len(fit.simulations.statistics)} simulations on {html.escape(images)}, squares of
{simulator.side_px} px. Of a square, photograph or simulation of the fitted space, the nearest other one is of its
own kind in {100 * told_apart:.0f} % of
{2 * min(len(first), len(simulated))} (50 %: nothing tells them apart; scenes differ too).</p>{facts}
<h2>What could not be told, and what is doubtful</h2><ul>{notes}</ul>
<h2>Photographs</h2><div class="patches">{_images(chosen)}</div>
<h2>Clean images degraded by the fitted space</h2><div class="patches">{_images(made[:SHOWN])}</div>
<h2>Parameters</h2><table><tr><th>90 % intervals in brackets</th><th>before</th><th>told by statistics</th></tr>
{"".join(_row(one) for one in fit.populations)}</table>
<h2>Statistics</h2><p>5, 50 and 95 % of the squares. Marked: the photographs' middle lies outside.</p>
<table><tr><th></th><th>photographs</th><th>fitted space</th><th></th></tr>{_statistics(fit.seen, simulated)}</table>
<h2>The space</h2><pre>{html.escape(fit.text)}</pre>
</body></html>
"""
    return page.encode()


def _images(squares: Sequence[NDArray[np.uint8]]) -> str:
    return "".join(f'<img alt="" src="data:image/webp;base64,{_webp(square)}">' for square in squares)


def _webp(square: NDArray[np.uint8]) -> str:
    stream = BytesIO()
    Image.fromarray(square).save(stream, "WEBP", lossless=True, quality=50, method=2)
    return b64encode(stream.getvalue()).decode()


def _row(one: Population) -> str:
    if one.known and not one.before:
        before = ""
    elif one.parameter.classes:
        parts = zip(one.parameter.classes, one.before)
        before = ", ".join(f"{name} {100 * share:.0f} %" for name, share in parts)
    else:
        before = f"mean {one.before[0]:.3g}, standard deviation {one.before[1]:.3g}"
    text = html.escape(said(one))
    name, _, figures = text.partition(": ")
    told = figures if one.identified else f'<span class="faint">not identified: {figures}</span>'
    width = max(1, round(100 * one.information))
    bar = f'<svg width="100" height="9"><rect width="{width}" height="9" fill="royalblue"/></svg>'
    share = f'<td class="number">{bar} {100 * one.information:.0f} %</td>'
    return f"<tr><td>{name}: {told}</td><td>{html.escape(before)}</td>{share}</tr>"


def _statistics(seen: NDArray[np.float32], simulated: NDArray[np.float32]) -> str:
    rows = []
    for k, name in enumerate(NAMES):
        own, other = np.quantile(seen[:, k], (0.05, 0.5, 0.95)), np.quantile(simulated[:, k], (0.05, 0.5, 0.95))
        outside = not other[0] <= own[1] <= other[2]
        cells = "".join(
            f'<td class="number">{"  ".join(f"{value:.2f}" for value in part)}</td>' for part in (own, other)
        )
        what = html.escape(describe(name)[0])
        rows.append(f'<tr{" class=off" if outside else ""}><td>{name}</td>{cells}<td class="faint">{what}</td></tr>')
    return "".join(rows)

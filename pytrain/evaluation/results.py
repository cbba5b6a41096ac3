"""What was measured: scores per set with the protocol they were measured under, their short names, tables, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydegrade.files import display_name
from pydegrade.images.metrics import Score

from .perceptual import metric_name
from .sets import EvalSet
from .settings import EvaluateConfig, Reference, protocol_of


@dataclass(frozen=True)
class SetResult:
    """Scores on one set.

    Attributes:
        name: of the set.
        degradation: how its LR was made.
        digest: of the list of its HR images.
        images: their names.
        reference: what results were compared with.
        scores: PSNR and SSIM of each protocol in turn; their `values` follow `images`. NaN where the network gave NaN.
        perceptual: of each metric of pyiqa that was asked for, likewise.
        lower_is_better: names of those whose smaller value is the better one.
    """

    name: str
    degradation: str
    digest: str
    images: tuple[str, ...]
    scores: tuple[Score, ...]
    reference: Reference = "hr"
    perceptual: tuple[Score, ...] = ()
    lower_is_better: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvalResult:
    """Scores of one model on all sets."""

    model: str
    scale: int
    sets: tuple[SetResult, ...]

    @property
    def scores(self) -> Mapping[str, float]:
        """Means by short name: "set5/psnr" and "set5/ssim" under the first protocol, "set5/psnr-rgb-uint8-border4" under
        the others."""
        values: dict[str, float] = {}
        for one in self.sets:
            for number, score in enumerate(one.scores):
                kind = score.protocol.partition("-")[0]
                values[f"{one.name}/{kind if number < 2 else score.protocol}"] = score.value
            for score in one.perceptual:
                values[f"{one.name}/{score.protocol.partition('-')[0]}"] = score.value
        return MappingProxyType(values)

    @property
    def lower_is_better(self) -> frozenset[str]:
        """Those names of `scores` whose smaller value is the better one."""
        return frozenset(f"{one.name}/{name}" for one in self.sets for name in one.lower_is_better)

    def table(self, per_image: bool = False) -> str:
        """The scores as text; with `per_image` a line for every image as well."""
        return table([self], per_image)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `from_dict` restores the result."""
        sets = [
            {
                "name": one.name,
                "degradation": one.degradation,
                "digest": one.digest,
                "images": list(one.images),
                "reference": one.reference,
                "measured": [
                    {"protocol": score.protocol, "value": score.value, "values": list(score.values)}
                    for score in one.scores
                ],
                "perceptual": [
                    {"protocol": score.protocol, "value": score.value, "values": list(score.values)}
                    for score in one.perceptual
                ],
                "lower_is_better": list(one.lower_is_better),
            }
            for one in self.sets
        ]
        return {"model": self.model, "scale": self.scale, "scores": dict(self.scores), "sets": sets}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvalResult:
        """The inverse of `to_dict`."""
        sets = tuple(
            SetResult(
                one["name"],
                one["degradation"],
                one["digest"],
                tuple(one["images"]),
                tuple(Score(score["value"], score["protocol"], tuple(score["values"])) for score in one["measured"]),
                one["reference"],
                tuple(
                    Score(score["value"], score["protocol"], tuple(score["values"]))
                    for score in one.get("perceptual", ())
                ),
                tuple(one.get("lower_is_better", ())),
            )
            for one in values["sets"]
        )
        return cls(values["model"], values["scale"], sets)

    def to_json(self) -> str:
        """`to_dict` as JSON text. Equal images have infinite PSNR, which JSON can only say as a number out of range."""
        return json.dumps(self.to_dict(), indent=2).replace("Infinity", "1e999") + "\n"


def table(results: Sequence[EvalResult], per_image: bool = False) -> str:
    """Scores of several models as text with aligned columns, grouped by set and protocol."""
    rows = [("set", "images", "degradation", "model", "PSNR dB", "SSIM", "protocol")]
    names = list(dict.fromkeys(one.name for result in results for one in result.sets))
    for name in names:
        found = [(result.model, one) for result in results for one in result.sets if one.name == name]
        for number in range(max(len(one.scores) for _, one in found) // 2):
            for model, one in found:
                first, second = one.scores[2 * number : 2 * number + 2]
                protocol = f"{first.protocol.partition('-')[2]} against {one.reference}"
                for position, image in enumerate(one.images) if per_image else ():
                    values = f"{first.values[position]:.2f}", f"{second.values[position]:.4f}"
                    rows.append((one.name, image, one.degradation, model, *values, protocol))
                values = f"{first.value:.2f}", f"{second.value:.4f}"
                rows.append((one.name, str(len(one.images)), one.degradation, model, *values, protocol))
    return _aligned(rows) + _perceptual_table(results, per_image)


def _perceptual_table(results: Sequence[EvalResult], per_image: bool) -> str:
    """The metrics of pyiqa, a row for each; nothing where none was asked for."""
    rows = [("set", "images", "degradation", "model", "metric", "value", "better", "protocol")]
    for name in dict.fromkeys(one.name for result in results for one in result.sets):
        found = [(result.model, one) for result in results for one in result.sets if one.name == name]
        for number in range(max(len(one.perceptual) for _, one in found)):
            for model, one in found:
                score = one.perceptual[number]
                metric, _, protocol = score.protocol.partition("-")
                better = "lower" if metric in one.lower_is_better else "higher"
                head, tail = (one.degradation, model, metric), (better, f"{protocol} against {one.reference}")
                for image, value in zip(one.images, score.values) if per_image else ():
                    rows.append((one.name, image, *head, f"{value:.4f}", *tail))
                rows.append((one.name, str(len(one.images)), *head, f"{score.value:.4f}", *tail))
    return _aligned(rows) if len(rows) > 1 else ""


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    rows = [tuple(map(display_name, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() + "\n" for row in rows)


def score_names(config: EvaluateConfig, sets: Sequence[EvalSet]) -> list[str]:
    """The names of `EvalResult.scores`, known before anything is measured."""
    names = []
    for one in sets:
        protocols = [protocol_of(name, one.scale, one.channels) for name in config.protocols]
        names += [f"{one.name}/{kind}" for kind in ("psnr", "ssim")]
        names += [f"{one.name}/{kind}-{protocol}" for protocol in protocols[1:] for kind in ("psnr", "ssim")]
        names += [f"{one.name}/{metric_name(text)}" for text in config.perceptual]
    return names

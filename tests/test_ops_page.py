"""docs/ops.md shows every op, and every name of a column that chooses."""

from __future__ import annotations

from benchmarks import ops_page
from pydegrade.ops import OPS, PLAIN_OPS

from .conftest import ROOT

# Shown by their pictures' likes: another matrix, border or filter looks the same, a differentiable JPEG like JPEG.
NOT_SHOWN = {
    *("blur.border", "kernel_pool.border", "resize.rule", "color.order", "chroma.matrix", "chroma.down", "chroma.up"),
    *("video.control", "video.preset", "video.profile"),
    *("jpeg.mode", "avif.subsampling", "screentone.dot"),
}


def test_every_op_and_every_choice_is_shown():
    rows = [row for _, family in ops_page.FAMILIES.values() for row in family]
    for op in OPS + PLAIN_OPS:
        mine = [row for row in rows if row.op == op.name]
        assert mine, op.name
        for column in op.columns:
            if not column.choices or f"{op.name}.{column.name}" in NOT_SHOWN:
                continue
            named = {row.fixed.get(column.name) for row in mine}
            named |= {value for row in mine if row.column == column.name for value in row.values}
            neutral = {column.neutral} if column.neutral in ("off", "delta", "none") else set()
            given = {name for name in named if isinstance(name, str)}
            assert set(column.choices) - neutral <= given | ({"lossy"} & set(column.choices)), (
                f"{op.name}.{column.name}"
            )


def test_the_pictures_are_there_and_at_most_1000_px_wide():
    from PIL import Image

    text = (ROOT / "docs/ops.md").read_text()
    for name, (heading, _) in ops_page.FAMILIES.items():
        assert f"## {heading}\n\n![{heading}](images/ops_{name}.webp)" in text
        with Image.open(ROOT / f"docs/images/ops_{name}.webp") as picture:
            assert picture.width <= 1000

"""docs/presets.md says what the presets say, and shows each of them."""

from __future__ import annotations

from PIL import Image

from benchmarks import presets_page

from .conftest import ROOT


def test_the_page_is_that_of_the_presets():
    made = presets_page.text()
    assert (ROOT / "docs/presets.md").read_text() == made, "run python -m benchmarks.presets_page"
    for family in presets_page.families():
        assert f"## {family}\n" in made
        with Image.open(ROOT / "docs/images" / presets_page.picture_of(family)) as picture:
            assert picture.width <= 1000

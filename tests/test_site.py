"""The site: what its pages are made of, and, where mkdocs is installed, that it builds without a warning."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks import site
from pydegrade import vectors
from pydegrade.commands import cli as degrade_cli
from pytrain.commands import cli as pytrain_cli

from .children import ROOT


def pages(table):
    for entry in table.values():
        yield from pages(entry) if isinstance(entry, dict) else [entry]


def test_every_document_has_a_place():
    listed = {page for page in pages(site.NAVIGATION) if not page.startswith("reference/")} - {"index.md"}
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_every_command_and_number_is_on_its_page():
    for name, module in (("degrade", degrade_cli), ("pytrain", pytrain_cli)):
        page = site.command_pages(name, module.cli)
        for command in module.COMMANDS:
            assert f"\n## {name} {command}\n\n```text\nUsage: {name} {command}" in page
    assert [f"`{entry}`" in site.dasr33_page() for entry in vectors.ENTRIES] == [True] * 33


def test_documents_become_links_but_in_code():
    assert site.linked("see docs/rng.md, `docs/rng.md`") == "see [docs/rng.md](rng.md), `docs/rng.md`"
    assert site.linked("```\n docs/rng.md\n```") == "```\n docs/rng.md\n```"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="no mkdocs (pip install 'pydegrade[site]')")
def test_the_site_builds_without_a_warning(tmp_path):
    done = site.build(tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site/reference/python/index.html").exists()

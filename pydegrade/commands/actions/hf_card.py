"""A data card for Hugging Face's hub, README.md with YAML in front, from the facts of a card."""

from __future__ import annotations

import yaml

from ...files.card import Card
from ...files.paths import display_name
from ...tasks.space import Space

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_MOST_IMAGES = 20


def hf_card_text(card: Card, name: str) -> str:
    """The text of README.md.

    Args:
        card: of the set.
        name: what the set is called.
    """
    space, count = card.tasks.space, len(card.tasks)
    size = next((word for most, word in _SIZES if count < most), "n>10M")
    front = {
        "pretty_name": name,
        "task_categories": ["image-to-image"],
        "tags": ["super-resolution", "image-restoration", "degradation", "pydegrade"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "*.parquet"}]}],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {_plain(name)}",
        _summary(card),
        "| Column | Holds |\n|---|---|\n" + "\n".join(_columns(space)),
        "## How it was made",
        _made(card),
        "The space, as text:",
        _fenced("toml", space.to_toml()),
        *(
            part
            for one in space.components
            for part in (f"Its component {_plain(one.name)}:", _fenced("toml", one.to_toml()))
        ),
        "## Clean images",
        _images(card),
        "The licence of the pairs is that of the clean images; it is not part of these facts, add it above.",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(card: Card) -> str:
    space = card.tasks.space
    source = f" ({_plain(space.source)})" if space.source else ""
    return (
        f"{len(card.tasks)} pairs for super-resolution x{space.scale}: squares of {card.side_px} px, degraded by tasks of "
        f"the space `{space.name}@{space.digest[:8]}`{source}, one task per image."
    )


def _columns(space: Space) -> list[str]:
    target = [f"| `target` | `hr` sharpened by `{space.target}`: what a loss compares with |"]
    return [
        "| `hr` | the clean square |",
        "| `lr` | the same, degraded |",
        *(target if space.target != "hr" else []),
        "| `index` | number of the sample |",
        "| `address` | of the task; `degrade show ADDRESS` says what it does, `degrade apply` does it again |",
        "| `task` | every parameter, as JSON |",
    ]


def _made(card: Card) -> str:
    versions = ", ".join(f"{_plain(name)} {_plain(version)}" for name, version in card.versions.items())
    lines = [
        f"Seed {card.seed}, samples {card.start} to {int(card.tasks.indices[-1])}, mirroring `{card.augment}`. The first "
        f"task is `{_code(card.tasks.addresses[0])}`.",
        f"Digest of the space: `{card.tasks.space.digest}`.",
    ]
    if card.protocol:
        lines.append(f"Models are measured by `{_code(card.protocol)}`.")
    if versions:
        lines.append(f"Made with {versions}.")
    again = "degrade sample --card card.toml --hr CLEAN_IMAGES --out again\ndegrade verify card.toml again"
    told = "With the set's card, whoever has the clean images makes the same bytes:"
    return "\n".join(lines) + f"\n\n{told}\n\n" + _fenced("", again)


def _images(card: Card) -> str:
    shown = [*card.images.items()][:_MOST_IMAGES]
    rows = [f"| `{_code(name)}` | `{sha256}` |" for name, sha256 in shown]
    left = len(card.images) - len(shown)
    more = f"\n\nand {left} more, which the card names." if left else ""
    return "| Name | SHA-256 |\n|---|---|\n" + "\n".join(rows) + more


def _fenced(language: str, text: str) -> str:
    """Text as it stands; the fence is longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _code(text: str) -> str:
    """A text for a span of code, also in a table."""
    return " ".join(display_name(text).replace("`", "'").replace("|", "\\|").split())


def _plain(text: str) -> str:
    """A text that no one's markup changes, on one line."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#" else one for one in " ".join(text.split()))

"""Option files of other projects as plain values: YAML, TOML, JSON with comments, HCL. Nothing in them is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OptionsError, shown
from ..files.paths import display_name, open_regular
from ..toml_lines import parsed
from .hcl import parsed_hcl

MAX_BYTES = 2**18


def read_options(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The options of a .yml, .yaml, .toml, .json or .hcl file.

    YAML is read by PyYAML's safe loader: a tag that would construct an object is refused. JSON lines end at `//`, as in
    KAIR, also inside of addresses.

    Raises:
        OptionsError: no such file, too large, not of these kinds, not valid, or no table; one line with its place.
    """
    name = display_name(os.fspath(path))
    ending = Path(path).suffix.lower()
    if ending not in (".yml", ".yaml", ".toml", ".json", ".hcl"):
        raise OptionsError(f"{name}: an option file must end in .yml, .yaml, .toml, .json or .hcl, got {shown(ending)}")
    try:
        with open_regular(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OptionsError(f"{name}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise OptionsError(str(error)) from None
    if len(raw) > MAX_BYTES:
        raise OptionsError(f"{name}: larger than {MAX_BYTES} bytes, which no option file is")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OptionsError(f"{name}: not a text in UTF-8") from None
    try:
        options = _yaml(name, text) if ending in (".yml", ".yaml") else _json(name, text) if ending == ".json" else None
        if ending == ".hcl":
            options = parsed_hcl(text, name)
        if options is None:
            options = parsed(text, name, "an option file", OptionsError)
    except RecursionError:
        raise OptionsError(f"{name}: nested too deeply") from None
    if not isinstance(options, dict):
        raise OptionsError(f"{name}: expected a table of options, got {shown(options)}")
    return options


def _yaml(name: str, text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
        """Without references to whole tables and lists, of which a small file can make a huge value."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            alias = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            if alias and not isinstance(node, yaml.ScalarNode):
                raise yaml.composer.ComposerError(None, None, "references to tables are not read", node.start_mark)
            return node

    try:
        options = yaml.load(text, Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark is not None else name
        problem = str(getattr(error, "problem", None) or error).replace(
            "could not determine a constructor for the tag", ""
        )
        is_tag = "could not determine a constructor" in str(getattr(error, "problem", ""))
        if isinstance(error, yaml.constructor.ConstructorError) and is_tag:
            raise OptionsError(f"{place}: a tag that is never constructed: {shown(problem.strip())}") from None
        raise OptionsError(f"{place}: not valid YAML: {' '.join(problem.split())[:200]}") from None
    except (ValueError, ArithmeticError) as error:  # a date that does not exist, a number that is none
        raise OptionsError(f"{name}: not valid YAML: {' '.join(str(error).split())[:200]}") from None
    except (AttributeError, LookupError, TypeError):
        # What PyYAML raises for a value that is not what its own tag says: !!timestamp 1, !!bool 3, !!float _.
        raise OptionsError(f"{name}: not valid YAML: a value is not what its tag says") from None
    return {} if options is None else options


def _json(name: str, text: str) -> Any:
    lines = [line.split("//")[0] for line in text.splitlines()]
    try:
        return json.loads("\n".join(lines))
    except ValueError as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else " ".join(str(error).split())
        raise OptionsError(f"{name}{line}: not valid JSON (lines end at //): {reason[:200]}") from None


def is_number(value: Any) -> bool:
    """Whether an option's value is a number that a space can hold: no truth value, not NaN, below 10^9."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9

"""A network on the page of `degrade explore`: LR before and after it, and what it believes about the degradation."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from ...engine import degrade_list
from ...errors import PydegradeError
from ...files.pixels import Pixels, to_float, to_uint8
from ...images.imresize import imresize
from ...images.metrics import psnr
from ...tasks import vectors
from ...tasks.space import Space
from ...tasks.task import TaskBatch
from . import explore

SCRIPT = Path(__file__).parents[2] / "pages" / "explore.js"
MODELS = "degrade.models"
"""Group of entry points by which an installed package opens model files: name -> module:function, path -> `Model`."""
BESIDE = ("LR", "bicubic", "HR")


class Model(Protocol):
    """A network that enlarges images.

    Attributes:
        name: for people.
        scale: result side over LR side.
        believes: whether it predicts a degradation vector (`pydegrade.vectors`), which may be edited.
    """

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> int: ...

    @property
    def believes(self) -> bool: ...

    def enlarged(self, lr: Pixels, changes: Mapping[str, str]) -> Pixels:
        """uint8 [h, w, 3] -> [scale h, scale w, 3].

        Args:
            changes: entries of the vector that a person has set; see `vectors.edited`.
        """

    def belief(self, lr: Pixels) -> Mapping[str, float | str]:
        """Values by name, as `vectors.described` gives them."""


def open_model(path: Path, space: Space) -> Model:
    """A model file, by the first installed package that opens such.

    Raises:
        PydegradeError: nothing opens it, or it has another scale than the space.
    """
    for entry in entry_points(group=MODELS):
        model: Model = entry.load()(path)
        if model.scale != space.scale:
            raise PydegradeError(f"--model: {model.name} has scale {model.scale}, {space.name} has {space.scale}")
        return model
    raise PydegradeError(
        f"--model: no installed package opens model files (entry points {MODELS}); install pydegrade anew"
    )


def view_of(left: str, right: str, names: tuple[str, str]) -> str:
    """HTML: two images (data URIs) at one place under a line that moves."""
    return (
        f'<div class="split"><div class="half hr"><img src="{left}" alt="{names[0]}"></div>'
        f'<div class="half lr"><img src="{right}" alt="{names[1]}"></div><div class="line"></div>'
        f'<b class="left">{names[0]}</b><b class="right">{names[1]}</b><span class="zoom"></span></div>'
    )


def model_view(gr: Any, model: Model) -> dict[str, Any]:
    """What the page has of a network, by name; nothing is connected yet."""
    parts: dict[str, Any] = {"changes": gr.State({})}
    with gr.Row():
        parts["score"] = gr.Markdown(f"**{html.escape(model.name)}**", elem_id="score")
        parts["beside"] = gr.Radio(list(BESIDE), value=BESIDE[0], show_label=False, elem_id="beside-result")
    parts["view"] = gr.HTML(js_on_load=SCRIPT.read_text(encoding="utf-8"), elem_id="after")
    parts["table"], parts["fields"] = None, {}
    if model.believes:
        with gr.Accordion("what the network believes, to be changed", open=False):
            parts["undo"] = gr.Button("as the network believes", elem_id="undo", size="sm")
            parts["table"] = gr.HTML(elem_id="believed")
            with gr.Row(elem_classes="vector"):
                for name, limits in vectors.editable().items():
                    parts["fields"][name] = _field(gr, name, limits)
    return parts


def _field(gr: Any, name: str, limits: tuple[float, float] | tuple[str, ...]) -> Any:
    common = {"label": name, "interactive": True, "elem_id": "vector-" + name.replace(".", "-"), "min_width": 170}
    low, high = limits[0], limits[-1]
    if isinstance(low, str):
        return gr.Dropdown(list(limits), value=low, filterable=False, **common)
    assert not isinstance(high, str)
    ends = explore.four_digits(low, math.floor), explore.four_digits(high, math.ceil)
    return gr.Slider(*ends, ends[0], step=(high - low) / 200, buttons=[], **common)


def connect(
    gr: Any, model: Model, parts: dict[str, Any], space: Space, here: list[Any], view: Any, told: Callable[..., Any]
) -> None:
    """Let the network answer after every change of the page's view, and to its own controls.

    Args:
        here: photograph, square, and address of the page.
        view: of HR and LR.
        told: see the page.
    """
    fields: dict[str, Any] = parts["fields"]

    def answer(
        photo: Pixels, across: float, down: float, address: str, beside: str, changes: dict[str, str]
    ) -> list[Any]:
        hr = explore.square(photo, space.scale, across / 100, down / 100)
        task = explore.task_at(space, address)
        lr = to_uint8(degrade_list([to_float(hr)], task)[0])
        result, bicubic = model.enlarged(lr, changes), imresize(lr, space.scale)
        images = {"LR": lr, "bicubic": bicubic, "HR": hr}
        protocol = f"y-uint8-border{space.scale}"
        of_result, of_bicubic = (psnr(image, hr, protocol).value for image in (result, bicubic))
        score = f"**{html.escape(model.name)}**: {of_result:.2f} dB, bicubic {of_bicubic:.2f} dB (PSNR {protocol})"
        made = [score, view_of(explore.exact(images[beside]), explore.exact(result), (beside, "result"))]
        if not model.believes:
            return made
        believed = model.belief(lr)
        entries = vectors.editable()
        shown = [
            gr.skip() if name in changes or name not in believed else _within(_rounded(believed[name]), entries[name])
            for name in fields
        ]
        return [*made, believed_table(task, believed, changes), *shown]

    seen = [parts["score"], parts["view"], *([parts["table"], *fields.values()] if model.believes else [])]
    asked = [*here, parts["beside"], parts["changes"]]
    quick = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    heard = told(answer, len(seen))
    view.change(heard, asked, seen, **quick)
    parts["beside"].input(heard, asked, seen, **quick)

    def changed(name: str, changes: dict[str, str], value: Any) -> dict[str, str]:
        # What a slider says its ends are may lie a little outside.
        return {**changes, name: str(_within(value, vectors.editable()[name]))}

    for name, field in fields.items():
        event = field.input(partial(changed, name), [parts["changes"], field], [parts["changes"]], **quick)
        event.then(heard, asked, seen, **{key: value for key, value in quick.items() if key != "trigger_mode"})
    if model.believes:
        event = parts["undo"].click(dict, None, [parts["changes"]], show_progress="hidden", api_visibility="private")
        event.then(heard, asked, seen, show_progress="hidden", api_visibility="private")


def _rounded(value: float | str) -> float | str:
    return value if isinstance(value, str) else explore.four_digits(value)


def _within(value: float | str, limits: tuple[float, float] | tuple[str, ...]) -> float | str:
    """The nearest value that the entry can have."""
    low, high = limits[0], limits[-1]
    if isinstance(value, str) or isinstance(low, str) or isinstance(high, str):
        return value
    return min(max(value, low), high)


def believed_table(task: TaskBatch, believed: Mapping[str, float | str], changes: Mapping[str, str]) -> str:
    """HTML: each entry as the network believes it, as the task has it, and as a person has set it."""
    rows = []
    for name in vectors.editable():
        if name not in believed and name not in changes:
            continue
        texts = (name, _text(believed.get(name, "")), _true(task, name), _text(changes.get(name, "")))
        rows.append("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in texts) + "</tr>")
    head = "<tr><th></th><th>network</th><th>task</th><th>set</th></tr>"
    return f'<table class="believed">{head}{"".join(rows)}</table>'


def _true(task: TaskBatch, name: str) -> str:
    if name not in task.columns:
        return ""
    slot = name.partition(".")[0]
    acts = bool((task.present(slot) & ~task.neutral(slot) & task.mask(name))[0])
    return _text(task.labels(name)[0]) if acts else "off"


def _text(value: float | str) -> str:
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return str(value)

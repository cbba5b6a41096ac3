"""The page of `degrade explore`, in Gradio: what is on it, and what answers to what."""

from __future__ import annotations

import atexit
import html
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import PydegradeError
from ...files.pixels import Pixels
from ...tasks.space import Space
from ...tasks.task import TaskBatch
from . import explore
from .explore_model import SCRIPT, Model, connect, model_view, view_of

PAGES = Path(__file__).parents[2] / "pages"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'self'"
)
"""What the browser may load: from here alone. Gradio's page names addresses of others, which this refuses."""
MOST_UPLOADED = "1gb"
_PERMALINK = "(address) => { history.replaceState(null, '', '?task=' + encodeURIComponent(address)); }"


@dataclass(frozen=True)
class Page:
    """What a page is about.

    Attributes:
        space: whose tasks are explored.
        space_name: as the command was told.
        first: the task to begin with.
        beside: the tasks that other spaces begin with, one each.
        groups: of tasks to choose from.
        model: that is given LR.
    """

    space: Space
    space_name: str
    first: TaskBatch
    beside: tuple[TaskBatch, ...] = ()
    groups: tuple[explore.Group, ...] = ()
    model: Model | None = None


def launch(page: Page, photo: Path | None, port: int, opened: bool) -> Any:
    """Build the page and serve it to this machine alone; returns Gradio's Blocks, whose server runs in a thread. What is
    uploaded is removed when the process ends.

    Args:
        page: what it is about.
        photo: to begin with; None: one that ships with scikit-image.
        port: 0 for any that is free.
        opened: whether to open a browser.
    Raises:
        PydegradeError: a photograph that cannot be read, or a port that is taken.
    """
    pixels = explore.photograph(photo)
    for space in (page.space, *(one.space for one in page.beside)):
        explore.square(pixels, space.scale)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    uploads = os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="pydegrade-explore-")
    atexit.register(shutil.rmtree, uploads, ignore_errors=True)
    import gradio
    from starlette.middleware import Middleware

    blocks = page_of(page, pixels)
    try:
        blocks.launch(
            server_name="127.0.0.1",
            server_port=port or None,
            share=False,
            inbrowser=opened,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            max_file_size=MOST_UPLOADED,
            state_session_capacity=16,
            app_kwargs={"middleware": [Middleware(_OwnMachineOnly)], "docs_url": None, "redoc_url": None},
            css=(PAGES / "explore.css").read_text(encoding="utf-8"),
            theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        )
    except OSError as error:
        raise PydegradeError(f"--port: {' '.join(str(error).split())[:200]}") from None
    return blocks


class _OwnMachineOnly:
    """Adds the policy to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())],
                }
            await send(message)

        await self.app(scope, receive, with_policy)


def page_of(page: Page, pixels: Pixels) -> Any:
    """The page, not yet served."""
    import gradio as gr

    space, space_name, first = page.space, page.space_name, page.first
    controls = explore.controls_of(space)

    def answer(photo: Pixels, across: float, down: float, task: TaskBatch) -> list[Any]:
        """What every change ends in: view, stages, whole photograph, address, TOML, Python."""
        hr = explore.square(photo, space.scale, across / 100, down / 100)
        seen = explore.shown(hr, task)
        try:
            toml = explore.toml_of(task)
        except PydegradeError as error:
            toml = f"# {error}"
        whole = explore.whole(photo, hr.shape[0], across / 100, down / 100)
        return [
            view_of(seen.hr, seen.lr, ("HR", "LR")),
            seen.stages,
            whole,
            task.addresses[0],
            toml,
            explore.python_of(task, space_name),
        ]

    def positions(task: TaskBatch) -> list[Any]:
        return [_shown(task, control) for control in controls]

    told = partial(_told, gr)

    def on_control(
        control: explore.Control, photo: Pixels, across: float, down: float, address: str, value: Any
    ) -> list[Any]:
        if isinstance(value, (int, float)):
            # What a slider says its ends are may lie a little outside.
            value = min(max(value, control.low), control.high)
        return answer(photo, across, down, explore.moved(explore.task_at(space, address), control, value))

    def on_address(photo: Pixels, across: float, down: float, address: str) -> list[Any]:
        task = explore.task_at(space, address)
        return [*answer(photo, across, down, task), *positions(task)]

    def on_place(photo: Pixels, across: float, down: float, address: str) -> list[Any]:
        return answer(photo, across, down, explore.task_at(space, address))

    def on_photo(path: str | None, address: str) -> list[Any]:
        photo = pixels if path is None else explore.photograph(Path(path))
        return [photo, 50, 50, *answer(photo, 50, 50, explore.task_at(space, address))]

    def on_draw(photo: Pixels, across: float, down: float, address: str) -> list[Any]:
        tasks = explore.drawn_after(explore.task_at(space, address))
        hr = explore.square(photo, space.scale, across / 100, down / 100, explore.SMALL_PX)
        return [explore.previews(hr, tasks), tasks.addresses]

    def on_choice(photo: Pixels, across: float, down: float, nine: list[str], event: Any) -> Any:
        return told(on_address, 6 + len(controls))(photo, across, down, nine[event.index])

    def on_load(photo: Pixels, across: float, down: float, request: Any) -> Any:
        address = request.query_params.get("task") or first.addresses[0]
        try:
            return on_address(photo, across, down, address)
        except (PydegradeError, TypeError) as error:
            gr.Warning(html.escape(str(error))[:500])
            return on_address(photo, across, down, first.addresses[0])

    # By their types Gradio knows what to hand over; it is imported here alone, where annotations do not reach.
    on_choice.__annotations__["event"] = gr.SelectData
    on_load.__annotations__["request"] = gr.Request

    with gr.Blocks(title=f"{space.name}: degrade explore", analytics_enabled=False, fill_width=True) as blocks:
        photo, nine = gr.State(pixels), gr.State([])
        with gr.Row():
            with gr.Column(scale=2, min_width=220):
                dropped = gr.File(label="photograph", file_count="single", type="filepath", height=130, elem_id="photo")
                whole = gr.HTML(elem_id="whole")
                across = gr.Slider(0, 100, 50, step=1, label="square: left, %", buttons=[])
                down = gr.Slider(0, 100, 50, step=1, label="square: top, %", buttons=[])
                draw = gr.Button("draw again", elem_id="draw")
                if page.groups:
                    sizes = [(f"{one.name}: {len(one.tasks)} tasks", place) for place, one in enumerate(page.groups)]
                    group = gr.Dropdown(sizes, value=0, label="group", filterable=False, elem_id="group")
                    more = gr.Button("next nine of the group", elem_id="more")
                drawn = gr.Gallery(
                    columns=3, height="auto", allow_preview=False, show_label=False, interactive=False,
                    elem_id="nine", elem_classes="nine", buttons=[], format="png",
                )  # fmt: skip
            with gr.Column(scale=5, min_width=480):
                view = gr.HTML(js_on_load=SCRIPT.read_text(encoding="utf-8"), elem_id="view")
                if page.model is not None:
                    after = model_view(gr, page.model)
                stages = gr.HTML(elem_id="stages")
                address = gr.Textbox(
                    label="task: paste an address and press Enter", value=first.addresses[0], buttons=["copy"],
                    elem_id="address",
                )  # fmt: skip
                with gr.Row():
                    with gr.Accordion("save as TOML", open=False):
                        toml = gr.Code(language=None, interactive=False, elem_id="toml", lines=6, max_lines=18)
                    with gr.Accordion("copy as Python", open=False):
                        program = gr.Code(language="python", interactive=False, elem_id="python", lines=6, max_lines=18)
            with gr.Column(scale=2, min_width=260, elem_classes="cards"):
                fields = [_field(gr, control, first) for control in _by_card(gr, controls)]
        with gr.Row():
            columns = [(one, *_column(gr, one)) for one in page.beside]
        here = [photo, across, down]
        seen = [view, stages, whole, address, toml, program]

        quick = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
        once = {"show_progress": "hidden", "api_visibility": "private"}
        for control, field in zip(controls, fields):
            field.input(told(partial(on_control, control), len(seen)), [*here, address, field], seen, **quick)
        for slider in (across, down):
            slider.input(told(on_place, len(seen)), [*here, address], seen, **quick)
        address.submit(told(on_address, len(seen) + len(fields)), [*here, address], [*seen, *fields], **once)
        dropped.change(told(on_photo, 3 + len(seen)), [dropped, address], [*here, *seen], **once)
        draw.click(told(on_draw, 2), [*here, address], [drawn, nine], **once)
        drawn.select(on_choice, [*here, nine], [*seen, *fields], **once)
        address.change(None, [address], None, js=_PERMALINK, api_visibility="private")
        if page.groups:
            place = gr.State(0)
            shown = partial(_nine_of_group, page)
            group.input(told(partial(shown, 0), 3), [*here, group, place], [drawn, nine, place], **once)
            more.click(told(partial(shown, explore.DRAWN), 3), [*here, group, place], [drawn, nine, place], **once)
            blocks.load(told(partial(shown, 0), 3), [*here, group, place], [drawn, nine, place], **once)
        if page.model is not None:
            # After the page has answered: a network may take its time.
            connect(gr, page.model, after, space, [*here, address], view, told)
        for one, their_view, their_stages, theirs, following in columns:
            answers = [their_view, their_stages, theirs]
            seen_by = told(partial(_beside, one.space), 3)
            # What shows where the square lies changes with the square alone.
            whole.change(seen_by, [*here, theirs], answers, **quick)
            theirs.submit(seen_by, [*here, theirs], answers, **once)
            following.click(told(partial(_beside_next, one.space), 3), [*here, theirs], answers, **once)
        blocks.load(on_load, here, [*seen, *fields], **once)
    return blocks


def _by_card(gr: Any, controls: list[explore.Control]) -> Any:
    """The controls, each while the card of its slot is open to be filled."""
    for number, slot in enumerate(dict.fromkeys(control.slot for control in controls)):
        with gr.Accordion(slot, open=number < 2):
            yield from (control for control in controls if control.slot == slot)


def _shown(task: TaskBatch, control: explore.Control) -> float | str:
    """What a control says; the task keeps its value until the control is moved."""
    value = explore.value_of(task, control)
    return value if isinstance(value, str) or control.step >= 1 else explore.four_digits(value)


def _field(gr: Any, control: explore.Control, task: TaskBatch) -> Any:
    value = _shown(task, control)
    common = {"label": control.label, "interactive": True, "elem_id": control.name.replace(".", "-")}
    if control.choices:
        return gr.Dropdown(list(control.choices), value=value, filterable=False, **common)
    return gr.Slider(*control.shown, value, step=control.step, buttons=[], **common)


def _column(gr: Any, first: TaskBatch) -> list[Any]:
    """View, stages, address and the button for the next draw of another space."""
    with gr.Column(min_width=380, elem_classes="beside"):
        with gr.Row():
            gr.Markdown(f"**{first.space.name}**")
            button = gr.Button("next draw", size="sm", min_width=90, elem_classes="next")
        view = gr.HTML(js_on_load=SCRIPT.read_text(encoding="utf-8"), elem_classes="view")
        address = gr.Textbox(value=first.addresses[0], show_label=False, buttons=["copy"], elem_classes="address")
        stages = gr.HTML()
    return [view, stages, address, button]


def _beside(space: Space, photo: Pixels, across: float, down: float, address: str) -> list[Any]:
    task = explore.task_at(space, address)
    seen = explore.shown(explore.square(photo, space.scale, across / 100, down / 100), task)
    return [view_of(seen.hr, seen.lr, ("HR", "LR")), seen.stages, task.addresses[0]]


def _beside_next(space: Space, photo: Pixels, across: float, down: float, address: str) -> list[Any]:
    following = explore.drawn_after(explore.task_at(space, address)).take([0])
    return _beside(space, photo, across, down, following.addresses[0])


def _nine_of_group(
    page: Page, step: int, photo: Pixels, across: float, down: float, chosen: int, place: int
) -> list[Any]:
    """Some tasks of a group, small, with what the file says of them; the place of the first."""
    group = page.groups[chosen]
    place = place + step if step else 0
    if place >= len(group.tasks):
        place = 0
    rows = range(place, min(place + explore.DRAWN, len(group.tasks)))
    tasks = group.tasks.take(list(rows))
    hr = explore.square(photo, page.space.scale, across / 100, down / 100, explore.SMALL_PX)
    return [list(zip(explore.previews(hr, tasks), (group.said[row] for row in rows))), tasks.addresses, place]


def _told(gr: Any, function: Callable[..., list[Any]], count: int) -> Callable[..., Any]:
    """The function, whose complaints a person reads as one line while everything stays as it was."""

    def careful(*values: Any) -> Any:
        try:
            return function(*values)
        except (PydegradeError, TypeError, OSError, MemoryError) as error:
            gr.Warning(html.escape(str(error) or type(error).__name__)[:500])
            return [gr.skip()] * count

    return careful


def wait_and_close(blocks: Any) -> None:
    """Serve until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        blocks.block_thread()
    blocks.close(verbose=False)

"""A headless Chromium for tests of pages: driven over a pipe by its own protocol, so that nothing has to be installed but
the browser."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
LIMIT_S = 120.0
"""After so long a browser that does not answer is a failure; it usually answers within milliseconds."""

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """One page of a browser of its own; `close` ends both.

    Attributes:
        errors: texts of exceptions that the page did not catch.
        refused: what the page's policy kept it from doing.
        requests: addresses of everything that it asked for.
    """

    def __init__(self, profile: Path, width_px: int = 1280, height_px: int = 800) -> None:
        self.errors: list[str] = []
        self.refused: list[str] = []
        self.requests: list[str] = []
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()

        def as_numbers_3_and_4() -> None:
            low = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(low[0], 3)
            os.dup2(low[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", f"--window-size={width_px},{height_px}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=as_numbers_3_and_4, close_fds=False,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number, self._session, self._loaded = b"", 0, "", False
        try:
            targets = self._send("Target.getTargets")["targetInfos"]
        except (BrokenPipeError, EOFError) as error:
            self.close()
            pytest.skip(f"{CHROMIUM} does not start here: {error}")
        target = next(one for one in targets if one["type"] == "page")
        self._session = self._send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")
        self.resize(width_px, height_px)

    def close(self) -> None:
        """End the browser."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def resize(self, width_px: int, height_px: int) -> None:
        """Give the page another size, in CSS pixels."""
        self._send(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False
        )

    def open(self, url: str) -> None:
        """Load a page and wait until it is there; always anew, also where only what stands behind `#` is another."""
        for place in ("about:blank", url):
            self._loaded = False
            self._send("Page.navigate", url=place)
            while not self._loaded:
                self._note(self._receive())

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise's when it has one."""
        answer = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description", answer))
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        started_s = time.monotonic()
        while not self.run(expression):
            assert time.monotonic() - started_s < LIMIT_S, f"never came true: {expression}; {self.errors}"
            time.sleep(0.01)

    def give_file(self, selector: str, path: Path) -> None:
        """Choose a file in an <input type="file">, as dropping one does."""
        found = self._send("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]
        self._send("DOM.setFileInputFiles", files=[str(path)], objectId=found["objectId"])

    def pixels(self, selector: str) -> NDArray[np.uint8]:
        """What an <img> shows, uint8 [H, W, 3]."""
        width, height, values = self.run(
            f"(async () => {{ const image = document.querySelector({selector!r}); await image.decode();"
            "const [width, height] = [image.naturalWidth, image.naturalHeight];"
            "const canvas = Object.assign(document.createElement('canvas'), {width, height});"
            "const draw = canvas.getContext('2d'); draw.drawImage(image, 0, 0);"
            "return [width, height, [...draw.getImageData(0, 0, width, height).data]]; })()"
        )
        return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]

    def press(self, key: str) -> None:
        """A key, as a person would."""
        for kind in ("keyDown", "keyUp"):
            self._send("Input.dispatchKeyEvent", type=kind, key=key)

    def screenshot(self, path: Path) -> None:
        """The page as it looks, a PNG."""
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", format="png")["data"]))

    def _send(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], LIMIT_S)
            assert ready, "the browser does not answer"
            got = os.read(self._in, 2**20)
            if not got:
                raise EOFError("the browser has ended")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _note(self, event: dict[str, Any]) -> None:
        self._loaded |= event.get("method") == "Page.loadEventFired"
        about: dict[str, Callable[[dict[str, Any]], None]] = {
            "Runtime.exceptionThrown": lambda told: self.errors.append(
                told["exceptionDetails"].get("exception", {}).get("description", told["exceptionDetails"]["text"])
            ),
            "Network.requestWillBeSent": lambda told: self.requests.append(told["request"]["url"][:200]),
            "Log.entryAdded": lambda told: (
                self.refused.append(told["entry"]["text"]) if told["entry"]["source"] == "security" else None
            ),
        }
        about.get(event.get("method", ""), lambda told: None)(event.get("params", {}))

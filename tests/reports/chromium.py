"""A real Chromium, driven over the DevTools protocol on two pipes: no port, no driver, no library between."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["PROGRAM", "Page", "chromium"]

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_SECONDS_MAX = 60.0
_KEYS = {"Enter": "\r", "Tab": "\t", " ": " "}


class Page:
    """A page. ``complaints`` holds its console's errors, warnings, refused loads and uncaught exceptions."""

    def __init__(self, to: int, come: int) -> None:
        self._to, self._come, self._buffer, self._number = to, come, b"", 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        self.prefer("light")

    def prefer(self, scheme: str) -> None:
        """Prefer a colour scheme, and no motion: what is clicked stands still."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS_MAX
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._come], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium did not answer"
            self._buffer += os.read(self._come, 2**20)
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _hear(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until its script has run."""
        self.requests.clear()
        self.call("Page.navigate", url=f"{path.absolute().as_uri()}{fragment}")
        self.until(lambda: self("document.readyState") == "complete")

    def __call__(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + _SECONDS_MAX
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, with the mouse."""
        x, y = self(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center', "
            "behavior: 'instant'}); const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other: names as in `KeyboardEvent.key`."""
        for key in keys:
            text = {"text": _KEYS[key]} if key in _KEYS and key != "Tab" else {}
            codes = {"Enter": 13, "Tab": 9, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
            code = codes.get(key, 0)
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen as a PNG, or the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(*, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Start Chromium with one page; it is gone afterwards."""
    assert PROGRAM is not None
    its_end, to = os.pipe()
    come, our_end = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # It reads from descriptor 3 and writes to 4; a shell puts the pipes there.
        command = f'exec "$@" 3<&{its_end} 4>&{our_end}'
        flags = (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}")
        process = subprocess.Popen(
            ["bash", "-c", command, "chromium", PROGRAM, *flags],
            pass_fds=(its_end, our_end), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(its_end)
        os.close(our_end)
        try:
            yield Page(to, come)
        finally:
            os.close(to)  # It stops when nobody can speak to it any more.
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(come)

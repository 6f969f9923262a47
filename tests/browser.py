"""Chromium for tests, driven through a pipe: its DevTools protocol as JSON, and nothing else to install."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
# The pipe is of descriptors 3 and 4.
LAUNCH = """import fcntl, os, sys
high = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3]]
for low, descriptor in zip((3, 4), high):
    os.dup2(descriptor, low)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One page in a browser."""

    def __init__(self, read: int, write: int):
        self._read, self._write, self._buffer, self._number = read, write, b"", 0
        self._session: str | None = None
        self.events: list[dict] = []
        """What the browser told unasked: requests, errors and so on."""

    def call(self, method: str, **params: Any) -> dict:
        """Return what a command of the protocol answers."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        whole = json.dumps(message).encode() + b"\0"
        while whole:
            whole = whole[os.write(self._write, whole) :]
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], 120)[0]:
                raise TimeoutError("the browser says nothing")
            self._buffer += os.read(self._read, 1 << 20)
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, address: str, width: int = 1200, height: int = 900, *, scripts: bool = True):
        """Open an address in a fresh page of a size, and wait until it is loaded."""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.choose("light")
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait("Page.loadEventFired")

    def choose(self, scheme: str) -> None:
        """Prefer a color scheme as a reader does, light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def wait(self, event: str) -> None:
        """Wait until the browser tells of something."""
        until = time.monotonic() + 120
        while not any(told.get("method") == event for told in self.events):
            if time.monotonic() > until:
                raise TimeoutError(event)
            self.events.append(self._next())

    def run(self, code: str) -> Any:
        """Return what JavaScript comes to in the page."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        made = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(made["data"]))

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def told(self, method: str) -> list[dict]:
        """Return what the browser told of one kind."""
        return [event["params"] for event in self.events if event.get("method") == method]


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Page]:
    """Start Chromium with a profile of its own in a directory, and end it."""
    assert PROGRAM is not None
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    command = [sys.executable, "-c", LAUNCH, str(to_read), str(from_write), PROGRAM, *FLAGS]
    with open(directory / "stderr", "wb") as errors:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={directory / 'profile'}"],
            pass_fds=(to_read, from_write),
            stdout=errors,
            stderr=errors,
        )
    os.close(to_read)
    os.close(from_write)
    page = Page(from_read, to_write)
    try:
        yield page
    finally:
        with contextlib.suppress(Exception):
            page._session = None
            page.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        os.close(from_read)
        os.close(to_write)

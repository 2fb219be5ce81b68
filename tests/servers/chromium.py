"""A real headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_START_S = 60.0
_WAIT_S = 30.0


class Page:
    """One tab, with cookies and storage of its own."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; what the page complains of meanwhile is noted."""
        number = next(self._ids)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=_WAIT_S))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Waits until a JavaScript expression is true; while a page is on its way in, it may throw."""
        deadline_s = time.monotonic() + _WAIT_S
        while (seen := self._value_or_error(f"Boolean({condition})")) is not True:
            assert time.monotonic() < deadline_s, f"not within {_WAIT_S} s: {condition}: {seen}\n{self.complaints}"
            time.sleep(0.05)

    def _value_or_error(self, expression: str) -> Any:
        """Between two pages the elements, or the whole place to evaluate in, may not be there yet."""
        try:
            return self.evaluate(expression)
        except AssertionError as error:
            return error

    def open(self, url: str) -> None:
        """Goes to a page and waits until it has run its scripts."""
        self.send("Page.navigate", url=url)
        self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def choose_file(self, selector: str, path: Path) -> None:
        """Sets a file input, as its dialog would."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key: str) -> None:
        """Presses a key, such as Tab, Enter or a."""
        code = {"Tab": 9, "Enter": 13, "ArrowRight": 39}.get(key) or ord(key.upper())
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.send("Input.insertText", text=text)

    def look(self, *, width: int, is_dark: bool = False) -> None:
        """Sets the window's width, and light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """Writes the whole page as a PNG."""
        picture = self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(picture))

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Log.entryAdded":
            entry = message["params"]["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(message["params"]["exceptionDetails"]))


class Chromium:
    """The browser process."""

    def __init__(self, program: str, folder: Path) -> None:
        self._log = (folder / "chromium.log").open("wb")
        self._port_file = folder / "profile" / "DevToolsActivePort"
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
                "--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}",
                "about:blank",
            ],
            stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self.port = self._read_port()
        self._connections: list[ClientConnection] = []

    def new_page(self) -> Page:
        """A visitor of their own: nothing is shared with other pages."""
        browser = self._connect(httpx.get(self._url("json/version"), trust_env=False).json()["webSocketDebuggerUrl"])
        session = Page.__new__(Page)
        session._connection, session._ids, session.complaints = browser, itertools.count(1), []
        context = session.send("Target.createBrowserContext")["browserContextId"]
        target = session.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        return Page(self._connect(f"ws://127.0.0.1:{self.port}/devtools/page/{target}"))

    def close(self) -> None:
        """Ends it."""
        for connection in self._connections:
            connection.close()
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._log.close()

    def _connect(self, url: str) -> ClientConnection:
        connection = connect(url, max_size=None, proxy=None)
        self._connections.append(connection)
        return connection

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def _read_port(self) -> int:
        deadline_s = time.monotonic() + _START_S
        while not self._port_file.exists() or not self._port_file.read_text():
            assert self._process.poll() is None, Path(self._log.name).read_text()[-3000:]
            assert time.monotonic() < deadline_s, "Chromium did not start"
            time.sleep(0.05)
        return int(self._port_file.read_text().splitlines()[0])


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser; skips where none is installed."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.close()

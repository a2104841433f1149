"""Drive headless Chromium over its DevTools pipe, which takes nothing but the standard library."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path


def executable():
    """Path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Page:
    """One page in a browser of its own; remembers errors and requests."""

    def __init__(self, width=1280, height=900, patience=60.0):
        self.size, self.patience = (width, height), patience
        self.errors, self.requests = [], []

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def pipes():
            # The browser reads commands from descriptor 3 and answers on 4.
            high = [os.dup(fd) for fd in (to_read, to_write)]
            while min(high) < 5:
                high = [os.dup(fd) for fd in high]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.browser = subprocess.Popen(
            [
                executable(),
                *["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
                *["--disable-background-networking", "--remote-debugging-pipe", "--no-first-run"],
                *[f"--user-data-dir={self.profile.name}", "about:blank"],
            ],
            close_fds=False,
            preexec_fn=pipes,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest, self._number, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(*self.size)
        return self

    def __exit__(self, *_):
        self.browser.kill()
        self.browser.wait()
        os.close(self._in)
        os.close(self._out)
        self.profile.cleanup()

    def call(self, method, **params):
        """Send a command and wait for its answer, noting what happens meanwhile."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]

    def _next(self):
        until = time.monotonic() + self.patience
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser was silent for {self.patience:g} s")
            more = os.read(self._in, 2**20)
            if not more:
                raise ConnectionError("the browser went away")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(params["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.errors.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.errors.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
        return message

    def open(self, path):
        """Load a file and wait until it is complete."""
        self.call("Page.navigate", url=Path(path).as_uri())
        until = time.monotonic() + self.patience
        while self.run("document.readyState") != "complete" or self.run("location.href") == (
            "about:blank"
        ):
            if time.monotonic() > until:
                raise TimeoutError(f"{path} did not load")
            time.sleep(0.05)

    def run(self, script):
        """Value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def until(self, script):
        """Wait until a JavaScript expression holds."""
        end = time.monotonic() + self.patience
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"it never came true that {script}")
            time.sleep(0.02)

    def tap(self, x, y):
        """Touch the screen there."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def hover(self, x, y):
        """Move the mouse there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key):
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def resize(self, width, height, mobile=False):
        """Look through a window of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def picture(self, path, whole=False):
        """Photograph the window, or the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def printed(self, path):
        """Write what would be printed, as PDF."""
        found = self.call("Page.printToPDF", printBackground=True)
        Path(path).write_bytes(base64.b64decode(found["data"]))

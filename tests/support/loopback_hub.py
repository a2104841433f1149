"""A Hugging Face Hub on the loopback address, for the real client to talk to.

>>> with LoopbackHub({"org/repo": {"model.safetensors": content}}) as hub:
...     fetch(Weights(repo="org/repo", revision=hub.commit), endpoint=hub.endpoint, cache_dir=cache)
...     hub.requests
['HEAD /', 'HEAD /org/repo/resolve/…', …]

Every repository has the branch ``main`` and the one commit `hub.commit`. Set `hub.fault` to one of
`FAULTS` to make requests go wrong, to None to mend them. In a subprocess or behind a command line,
set ``HF_ENDPOINT`` to `hub.endpoint` and ``HF_HUB_CACHE`` to an empty folder.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

FAULTS = {
    "500": "every request for a file or a repository ends in a server error",
    "500-once": "the next such request does",
    "500-body": "files can be asked about, but not downloaded",
    "429": "too many requests",
    "401": "log in first",
    "403": "not for you",
    "403-later": "not for you, but only after the next such request",
    "gated": "accept the terms first",
    "silent": "connections are accepted, but nothing is answered",
    "dropped": "connections are closed without an answer",
    "truncated": "half of a body, then the connection closes",
    "truncated-once": "the same, but only for the next body",
    "shortened": "half of a body, sent as if it were the whole",
    "stalled": "half of a body, then nothing more",
    "corrupt": "one byte of a body is another, its length the same",
    "other-commit": "another commit than the one asked for",
    "other-service": "an HTTP server that is no hub",
    "no-sha": "the repository is described without its commit",
}
_ERRORS = {
    "429": (429, None),
    "401": (401, "RepoNotFound"),
    "403": (403, None),
    "gated": (403, "GatedRepo"),
    "500": (500, None),
    "500-once": (500, None),
}
_BODY_FAULTS = ("500-body", "truncated", "truncated-once", "shortened", "stalled", "corrupt")


class LoopbackHub:
    """Serve ``{repository: {file name: content}}`` until the ``with`` block ends.

    Attributes
    ----------
    endpoint
        What to give as ``endpoint=`` or ``HF_ENDPOINT``.
    requests
        One string for each request so far, such as ``"GET /org/repo/resolve/<commit>/<file>"``.
    fault
        Name from `FAULTS`, or None.
    stalled
        Event that is set as soon as half a body is out and the rest is held back.
    renamed
        Old name of a repository → the new one, to which requests are sent on.
    etags
        ``"hub"`` for what the real one sends (sha256 for safetensors, git's sha1 for the rest),
        ``"opaque"`` for a mirror whose tags say nothing about the content.
    """

    def __init__(self, repos, *, commit="0123456789abcdef0123456789abcdef01234567"):
        self.repos = repos
        self.commit = commit
        self.requests = []
        self.fault = None
        self.renamed = {}
        self.etags = "hub"
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def downloads(self):
        """Requests for a body."""
        return [line for line in self.requests if line.startswith("GET") and "/resolve/" in line]

    def use_up(self, *faults):
        """The fault if it is one of these, mended if it happens only once."""
        if self.fault == "403-later":
            self.fault = "403"
            return None
        fault = self.fault if self.fault in faults else None
        if fault and fault.endswith("-once"):
            self.fault = None
        return fault

    def etag(self, name, content):
        if self.etags == "opaque":
            return f"tag-of-{name.replace('/', '-')}"
        if name.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every answer, and no socket is left open

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):  # HTTP/1.0: one connection for each request
    timeout = 10

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        """Make a repository, say how files are to be sent, take a commit."""
        hub = self.server.hub
        self.path = unquote(self.path)
        hub.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if hub.fault in _ERRORS:
            self.refuse(*_ERRORS[hub.fault])
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            hub.repos.setdefault(repo, {})
            self.send(200, json.dumps({"url": f"{hub.endpoint}/{repo}"}).encode())
        elif self.path == "/api/validate-yaml":  # the metadata of a model card
            self.send(200, b'{"errors": [], "warnings": []}')
        elif self.path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for f in json.loads(body)["files"]
            ]
            self.send(200, json.dumps({"files": files}).encode())
        elif self.path.endswith("/commit/main"):
            repo = self.path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    hub.repos[repo][line["value"]["path"]] = content
            url = f"{hub.endpoint}/{repo}/commit/{hub.commit}"
            self.send(200, json.dumps({"commitUrl": url, "commitOid": hub.commit}).encode())
        else:
            self.refuse(404, "EntryNotFound")

    def answer(self):
        hub = self.server.hub
        self.path = unquote(self.path)
        hub.requests.append(f"{self.command} {self.path}")
        if hub.fault == "silent":
            hub.closing.wait()
        elif self.path == "/" or hub.fault == "other-service":
            self.send(200, b"hello")
        elif hub.fault == "dropped":
            self.close_connection = True
        elif new := self.new_place():
            self.send(307, b"", Location=new)
        elif fault := hub.use_up(*_ERRORS):
            self.refuse(*_ERRORS[fault])
        elif self.path.startswith("/api/models/"):
            repo, _, revision = self.path.removeprefix("/api/models/").partition("/revision/")
            self.describe(repo, revision or "main")
        else:
            repo, _, rest = self.path.removeprefix("/").partition("/resolve/")
            self.resolve(repo, *rest.partition("/")[::2])

    def send(self, status, content, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, code):
        self.send(status, b"{}", **({"X_Error_Code": code} if code else {}))

    def new_place(self):
        """Where a request for a renamed repository has to go, without the host as the hub does."""
        for old, new in self.server.hub.renamed.items():
            for start in ("/", "/api/models/"):
                if self.path.startswith(f"{start}{old}/"):
                    return f"{start}{new}{self.path.removeprefix(start + old)}"
        return None

    def knows(self, repo, revision):
        hub = self.server.hub
        if repo not in hub.repos:
            self.refuse(404, "RepoNotFound")
        elif revision not in ("main", hub.commit):
            self.refuse(404, "RevisionNotFound")
        else:
            return True
        return False

    def describe(self, repo, revision):
        hub = self.server.hub
        if not self.knows(repo, revision):
            return
        about = {"id": repo, "siblings": [{"rfilename": name} for name in hub.repos[repo]]}
        if hub.fault != "no-sha":
            about["sha"] = hub.commit
        self.send(200, json.dumps(about).encode(), Content_Type="application/json")

    def resolve(self, repo, revision, name):
        hub = self.server.hub
        if not self.knows(repo, revision):
            return
        if name not in hub.repos[repo]:
            self.refuse(404, "EntryNotFound")
            return
        content = hub.repos[repo][name]
        headers = {
            "X_Repo_Commit": "f" * 40 if hub.fault == "other-commit" else hub.commit,
            "ETag": f'"{hub.etag(name, content)}"',
            "X_Linked_Size": str(len(content)),
        }
        if self.command == "HEAD":
            self.send(200, content, **headers)
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        status = 200
        if start:
            status = 206
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        half = len(body) // 2
        match hub.use_up(
            "500-body", "truncated", "truncated-once", "shortened", "stalled", "corrupt"
        ):
            case "500-body":
                self.refuse(500, None)
            case "truncated" | "truncated-once":
                self.send(status, body[:half], Content_Length=str(len(body)), **headers)
            case "shortened":
                self.send(status, body[:half], **headers)
            case "stalled":
                self.send(status, body[:half], Content_Length=str(len(body)), **headers)
                hub.stalled.set()
                hub.closing.wait()
            case "corrupt":
                flipped = bytes([body[half] ^ 1])
                self.send(status, body[:half] + flipped + body[half + 1 :], **headers)
            case _:
                self.send(status, body, **headers)


@contextmanager
def in_place_of_the_hub(monkeypatch, cache, repos: Mapping[str, dict]) -> Iterator[LoopbackHub]:
    """Serve repositories to whoever asks the hub, with an empty cache."""
    with LoopbackHub({name: dict(files) for name, files in repos.items()}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HUB_CACHE", str(cache))
        yield hub

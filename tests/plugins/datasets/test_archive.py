"""Archives from a server next door: sound, broken, wrong and malicious ones; and tables."""

import errno
import hashlib
import io
import socket
import stat
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from zoo.plugins.datasets import archive
from zoo.plugins.datasets.archive import check_files, fetch_archive, open_folder, read_table

from zoo import errors


@contextmanager
def server(body=b"", *, status=200, length=None, raw=None, pause=0.0):
    """Serve one answer to every request, and list what was asked for."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            if raw is not None:
                self.wfile.write(raw)
                return
            answer = bytes(body)  # a test may change the body while this is sent
            self.send_response(status)
            if length != "unannounced":
                self.send_header("Content-Length", str(len(answer) if length is None else length))
            self.end_headers()
            self.wfile.write(answer)
            time.sleep(pause)

        def log_message(self, *_):
            pass

    answering = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answering.daemon_threads = False
    thread = threading.Thread(target=answering.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{answering.server_port}/set.zip", requests
    finally:
        answering.shutdown()
        answering.server_close()
        thread.join()


def zipped(files, *, modes=(), compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, text in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = compression
            member.external_attr = dict(modes).get(name, stat.S_IFREG | 0o644) << 16
            file.writestr(member, text)
    return content.getvalue()


FILES = {"set/a.csv": "x\n1\n", "set/images/b.png": "pixels " * 200}
SOUND = zipped(FILES)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def left(cache):
    return sorted(p.name for p in cache.iterdir()) if cache.exists() else []


def content(folder):
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_text() for p in files}


class TestSound:
    def test_once_and_then_from_the_cache(self, cache):
        with server(SOUND) as (url, requests):
            folder = fetch_archive("some", url)
            assert folder == cache / "some"
            assert content(folder) == FILES
            assert fetch_archive("some", url) == folder
            assert requests == ["/set.zip"]
        assert fetch_archive("some", url) == folder  # with nobody to ask
        assert left(cache) == ["some", "some.sha256"]

    @pytest.mark.parametrize("kind", ["sha256", "md5"])
    def test_with_a_published_hash_and_size(self, cache, kind):
        published = {kind: hashlib.new(kind, SOUND).hexdigest(), "size": len(SOUND)}
        with server(SOUND) as (url, _):
            assert content(fetch_archive("some", url, **published)) == FILES
        assert left(cache) == ["some"]  # a noted hash would say nothing new

    def test_an_answer_of_unannounced_length(self, cache):
        with server(SOUND, length="unannounced") as (url, _):
            assert content(fetch_archive("some", url)) == FILES

    def test_the_first_hash_is_noted_as_sha256sum_would(self, cache):
        with server(SOUND) as (url, _):
            fetch_archive("some", url)
        noted = (cache / "some.sha256").read_text()
        assert noted == f"{hashlib.sha256(SOUND).hexdigest()}  {url}\n"

    def test_the_first_hash_is_enforced_ever_after(self, cache):
        other = zipped({"set/a.csv": "x\n2\n"})
        for body in (SOUND, other):
            assert len(body) < 2**16
        body = bytearray(SOUND)
        with server(body) as (url, _):
            folder = fetch_archive("some", url)
            folder.rename(cache / "away")
            fetch_archive("some", url)  # the same content is welcome again
            (cache / "some").rename(cache / "away too")
            body[:] = other
            with pytest.raises(errors.IntegrityError) as caught:
                fetch_archive("some", url)
            assert hashlib.sha256(SOUND).hexdigest() in str(caught.value)
            assert hashlib.sha256(other).hexdigest() in str(caught.value)
            note = cache / "some.sha256"
            assert f"delete {note}" in str(caught.value)
            assert not (cache / "some").exists()
            note.unlink()
            assert content(fetch_archive("some", url)) == {"set/a.csv": "x\n2\n"}

    def test_another_address_is_another_first_download(self, cache):
        with server(SOUND) as (url, _):
            fetch_archive("some", url).rename(cache / "away")
        other = zipped({"a": "b"})
        with server(other) as (url, _):
            fetch_archive("some", url)
        assert hashlib.sha256(other).hexdigest() in (cache / "some.sha256").read_text()

    def test_a_check_sees_the_unpacked_folder_before_it_counts(self, cache):
        seen = []

        def check(folder):
            seen.append((content(folder), left(cache)))

        with server(SOUND) as (url, _):
            fetch_archive("some", url, check=check)
        ((files, places),) = seen
        assert files == FILES
        assert "some" not in places
        assert left(cache) == ["some"]

    def test_whoever_is_faster_wins(self, cache):
        def meanwhile(_):
            (cache / "some").mkdir()
            (cache / "some" / "theirs").write_text("")

        with server(SOUND) as (url, _):
            folder = fetch_archive("some", url, check=meanwhile)
        assert content(folder) == {"theirs": ""}
        assert left(cache) == ["some"]


def refuse(_):
    raise errors.DataError("no plate")


class TestRefused:
    @pytest.mark.parametrize(
        ("published", "why"),
        [
            (
                {"sha256": "0" * 64},
                rf"sha256 {hashlib.sha256(SOUND).hexdigest()} instead of 0{{64}}",
            ),
            ({"md5": "0" * 32}, rf"md5 {hashlib.md5(SOUND).hexdigest()} instead of 0{{32}}"),
            ({"size": len(SOUND) + 5}, rf"gave {len(SOUND)} bytes instead of {len(SOUND) + 5}"),
            ({"size": len(SOUND) - 5}, rf"gave more instead of {len(SOUND) - 5} bytes"),
        ],
        ids=["sha256", "md5", "short", "long"],
    )
    def test_other_content_than_published(self, cache, monkeypatch, published, why):
        monkeypatch.setattr(archive, "_unpack", pytest.fail)  # hashed before it is touched
        with (
            server(SOUND) as (url, _),
            pytest.raises(errors.IntegrityError, match="--data") as caught,
        ):
            fetch_archive("some", url, **published)
        assert str(caught.value).startswith(url)
        assert left(cache) == []
        assert caught.match(why)

    @pytest.mark.parametrize(
        "body",
        [
            b"<html>moved</html>",
            b"",
            SOUND[: len(SOUND) // 2],
            SOUND[:40] + b"\xff" * 12 + SOUND[52:],
            zipped({}),
        ],
        ids=["page", "empty answer", "half", "spoilt stream", "empty archive"],
    )
    def test_no_sound_archive(self, cache, body):
        with server(body) as (url, _), pytest.raises(errors.IntegrityError, match=r"^http.* gave "):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_whatever_is_spoilt_is_refused_or_whole(self, cache):
        """Flip bytes anywhere: files are unpacked as they were, or not at all."""
        rng = np.random.default_rng(0)
        refused = 0
        body = bytearray(SOUND)
        with server(body) as (url, _):
            for k in range(150):
                spoilt = bytearray(SOUND)
                for place in rng.integers(0, len(SOUND), 2):
                    spoilt[place] ^= int(rng.integers(1, 256))
                body[:] = spoilt
                try:
                    folder = fetch_archive(f"some{k}", url, check=lambda _: None)
                except (errors.IntegrityError, errors.DataError):
                    refused += 1
                else:
                    assert set(content(folder).values()) <= set(FILES.values())
        assert refused > 75

    @pytest.mark.parametrize(
        "name", ["../outside", "set/../../outside", "/outside", "C:/outside", "..\\outside"]
    )
    def test_files_that_lead_outside(self, tmp_path, cache, name):
        body = zipped({"set/a.csv": "x", name: "gotcha"})
        with (
            server(body) as (url, _),
            pytest.raises(errors.IntegrityError, match="outside its folder"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []
        assert not list(tmp_path.rglob("outside"))

    def test_links(self, cache):
        body = zipped({"set/a": "/etc/passwd"}, modes={"set/a": stat.S_IFLNK | 0o777}.items())
        with (
            server(body) as (url, _),
            pytest.raises(errors.IntegrityError, match=r"a link, 'set/a'"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_an_archive_larger_than_the_disk(self, cache, monkeypatch):
        monkeypatch.setattr(
            archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100})()
        )
        with (
            server(SOUND) as (url, _),
            pytest.raises(errors.DataError, match=r"1,404 bytes unpacked, but 100 free.*ZOO_CACHE"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_a_disk_that_is_full(self, cache, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(archive, "_unpack", full)
        with (
            server(SOUND) as (url, _),
            pytest.raises(
                errors.DataError, match=r"cannot be stored in .*No space left.*ZOO_CACHE"
            ),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_a_cache_that_is_no_folder(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
        with pytest.raises(errors.DataError, match=r"cannot be stored in .*file/datasets"):
            fetch_archive("some", "http://127.0.0.1:9/")

    def test_a_check_that_fails(self, cache):
        with (
            server(SOUND) as (url, _),
            pytest.raises(errors.IntegrityError, match="something other than some: no plate"),
        ):
            fetch_archive("some", url, check=refuse)
        assert left(cache) == []


class TestUnreachable:
    @pytest.mark.parametrize("status", [403, 404, 500, 503])
    def test_a_refusal_says_what_to_do(self, cache, status):
        with (
            server(b"sorry", status=status) as (url, _),
            pytest.raises(errors.DataError, match=rf"not on this machine.*{status}.*--data"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_an_answer_that_is_no_http(self, cache):
        with (
            server(raw=b"220 mail server ready\r\n") as (url, _),
            pytest.raises(errors.DataError, match=r"cannot be fetched .*--data"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_a_connection_that_breaks_off(self, cache):
        with (
            server(SOUND[:200], length=len(SOUND)) as (url, _),
            pytest.raises(errors.IntegrityError, match=r"gave 200 bytes.*try again"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_a_server_that_falls_silent(self, cache, monkeypatch):
        monkeypatch.setattr(archive, "_TIMEOUT", 0.2)
        with (
            server(SOUND[:200], length=len(SOUND), pause=1) as (url, _),
            pytest.raises(errors.DataError, match=r"cannot be fetched \(.*timed out\)"),
        ):
            fetch_archive("some", url)
        assert left(cache) == []

    def test_nobody_there(self, cache):
        with socket.socket() as taken:  # bound, but nobody listens
            taken.bind(("127.0.0.1", 0))
            with (
                mock.patch("socket.create_connection", wraps=socket.create_connection) as tried,
                pytest.raises(errors.DataError, match=r"cannot be fetched .*--data"),
            ):
                fetch_archive("some", f"http://127.0.0.1:{taken.getsockname()[1]}/set.zip")
        assert tried.call_count == 1
        assert left(cache) == []

    def test_what_is_no_address(self, cache):
        with pytest.raises(errors.DataError, match=r"no address cannot be fetched"):
            fetch_archive("some", "no address")


class TestOpenFolder:
    def test_one_sentence_for_each_fault(self, tmp_path):
        (tmp_path / "file").write_text("")
        (tmp_path / "empty").mkdir()
        for name, why in (
            ("nowhere", "does not exist"),
            ("file", "not a folder"),
            ("empty", "empty"),
        ):
            with pytest.raises(errors.DataError, match=rf"{name} is {why}|{name} {why}"):
                open_folder(tmp_path / name)
        assert open_folder(tmp_path) == tmp_path


class TestReadTable:
    def test_only_empty_cells_are_missing(self, tmp_path):
        (tmp_path / "t.csv").write_text("compound,moa \nNA,None\nnull,\n")
        table = read_table(tmp_path / "t.csv", ["compound", "moa"])
        expected = pd.DataFrame({"compound": ["NA", "null"], "moa": ["None", np.nan]})
        pd.testing.assert_frame_equal(table, expected, check_dtype=False)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("a,b\n1,2\n", r"t\.csv lacks the column\(s\) c, d; it has a, b$"),
            (",".join(f"k{i}" for i in range(15)) + "\n", r"it has k0, .*k11 and 3 more$"),
            ("c,d\n", r"t\.csv has no rows$"),
            ("", r"t\.csv is not a readable table \("),
            ('c,d\n"1,2\n', r"t\.csv is not a readable table \("),
            (b"c,d\n\xff\xfe,1\n", r"t\.csv is not a readable table \("),
        ],
        ids=["columns", "many columns", "no rows", "empty", "quote", "encoding"],
    )
    def test_one_sentence_for_each_fault(self, tmp_path, text, why):
        (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(errors.DataError, match=why):
            read_table(tmp_path / "t.csv", ["c", "d"])

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(errors.DataError, match=r"t\.csv is missing$"):
            read_table(tmp_path / "t.csv")


def test_missing_files_are_counted_and_the_first_is_named(tmp_path):
    (tmp_path / "b").write_text("")
    check_files([tmp_path / "b"], "some")
    with pytest.raises(errors.DataError, match=r"2 of 3 files of some are missing.*/a$"):
        check_files([tmp_path / n for n in "bac"], "some")

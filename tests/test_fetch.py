"""Source files: local copies, downloads, resuming, and refusal of anything altered."""

import hashlib
import http.server
import threading
from typing import ClassVar

import pytest

from datagradient.data.fetch import SourceFile, fetch
from datagradient.errors import UserError

CONTENT = bytes(range(256)) * 40_000  # 10 MB: several chunks
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; the class attributes say how to misbehave."""

    stop_after: int | None = None
    altered = False
    starts: ClassVar[list[int]] = []

    def do_GET(self):
        if self.path != "/file":
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        Server.starts.append(start)
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if Server.altered:
            body = b"x" + body[1:]
        self.wfile.write(body[: Server.stop_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def source(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.stop_after, Server.altered, Server.starts = None, False, []
    monkeypatch.delenv("DATAGRADIENT_DATA", raising=False)
    monkeypatch.setenv("DATAGRADIENT_CACHE", str(tmp_path / "cache"))
    yield SourceFile("set/file.bin", f"http://127.0.0.1:{server.server_port}/file", {SUM: "Official"})
    server.shutdown()


def test_a_file_is_downloaded_once(source, tmp_path):
    first, second = fetch(source), fetch(source)
    assert first == second
    assert (first.copy, first.checksum, first.path.read_bytes()) == ("Official", SUM, CONTENT)
    assert Server.starts == [0]
    assert [path.name for path in (tmp_path / "cache/set").iterdir()] == ["file.bin"]


def test_a_broken_download_resumes(source, tmp_path):
    Server.stop_after = 3_000_000
    with pytest.raises(UserError, match=r"download failed .*run again to resume, or set DATAGRADIENT_DATA"):
        fetch(source)
    assert not (tmp_path / "cache/set/file.bin").exists()
    Server.stop_after = None
    assert fetch(source).path.read_bytes() == CONTENT
    assert Server.starts[0] == 0 < Server.starts[1] <= 3_000_000


def test_a_complete_part_is_used(source, tmp_path):
    (tmp_path / "cache/set").mkdir(parents=True)
    (tmp_path / "cache/set/file.bin.part").write_bytes(CONTENT)
    assert fetch(source).path.read_bytes() == CONTENT


def test_an_altered_download_is_refused_and_removed(source, tmp_path):
    Server.altered = True
    with pytest.raises(UserError, match=f"file.bin.part: altered or truncated .*expected {SUM}, found sha256:"):
        fetch(source)
    assert not list((tmp_path / "cache/set").iterdir())


def test_a_missing_address_names_the_source_and_the_way_out(source, tmp_path):
    gone = SourceFile(source.path, source.url + "/gone", source.checksums)
    with pytest.raises(UserError, match=r"/gone: download failed \(HTTP Error 404.*set DATAGRADIENT_DATA"):
        fetch(gone)
    assert not list((tmp_path / "cache/set").iterdir())


def test_a_local_copy_is_used_and_nothing_downloaded(source, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/file.bin").write_bytes(CONTENT)
    assert fetch(source).path == tmp_path / "set/file.bin"
    assert not Server.starts


@pytest.mark.parametrize("content", [CONTENT[:-1], b"x" + CONTENT[1:], b""])
def test_a_truncated_or_altered_local_copy_is_refused(source, tmp_path, monkeypatch, content):
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/file.bin").write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match=f"set/file.bin: altered or truncated .*expected {SUM}, found sha256:{found}"):
        fetch(source)


def test_a_missing_local_copy_says_how_to_download(source, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"set/file.bin: not found; .*unset it to download"):
        fetch(source)


def test_a_known_copy_is_called_by_its_name(source, tmp_path, monkeypatch):
    copy = b"another encoding"
    both = {**source.checksums, "sha256:" + hashlib.sha256(copy).hexdigest(): "Official (copy)"}
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/file.bin").write_bytes(copy)
    assert fetch(SourceFile(source.path, source.url, both)).copy == "Official (copy)"

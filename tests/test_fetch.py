"""Source files: local copies, downloads, resuming, and refusal of anything altered."""

import gzip
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time

import pytest

from conftest import REPOSITORY
from datagradient.data import fetch as fetching
from datagradient.data.fetch import SourceFile, fetch, hugging_face
from datagradient.errors import UserError

CONTENT = bytes(range(256)) * 40_000  # 10 MB: several chunks
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ranges; the attributes say how to misbehave."""

    daemon_threads = True
    stop_after = None  # bytes of an answer, after which it closes
    hold_after = None  # bytes of the first answer, after which it waits until `released`
    altered = False
    answers = ()  # what is sent in place of the file, one each request
    ranges = True
    offset = 0  # a range is sent from so many bytes before (after) what was asked for
    headers = "Content-Length: {length}"
    encode = staticmethod(lambda body: body)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.starts, self.released = [], threading.Event()

    def handle_error(self, *_):
        pass  # a client that was killed

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/file"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        if self.path != "/file":
            return self.send_error(404)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        server.starts.append(start)
        if len(server.starts) <= len(server.answers):
            return self.wfile.write(server.answers[len(server.starts) - 1].replace(b"{self}", server.address.encode()))
        if server.ranges and start >= len(CONTENT):
            return self.send_error(416)
        first = start + server.offset if server.ranges and start else 0
        body = server.encode(CONTENT[first:])
        if server.altered:
            body = b"x" + body[1:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        for line in filter(None, server.headers.format(length=len(body)).split("\n")):
            self.send_header(*line.split(": "))
        self.end_headers()
        if server.hold_after and len(server.starts) == 1:
            self.wfile.write(body[: server.hold_after])
            server.released.wait(60)
            body = body[server.hold_after :]
        self.wfile.write(body[: server.stop_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.released.set()
        running.shutdown()


@pytest.fixture
def source(server, tmp_path, monkeypatch):
    monkeypatch.delenv("DATAGRADIENT_DATA", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setenv("DATAGRADIENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "PAUSES", ())
    return SourceFile("set/file.bin", server.address, {SUM: "Official"})


@pytest.fixture
def folder(tmp_path):
    """The folder that the file is downloaded to."""
    (tmp_path / "cache/set").mkdir(parents=True)
    return tmp_path / "cache/set"


def refused(source, match):
    """The one line with which a file is refused."""
    with pytest.raises(UserError, match=match) as caught:
        fetch(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_downloaded_once(source, server, tmp_path):
    first, second = fetch(source), fetch(source)
    assert first == second
    assert (first.copy, first.checksum, first.path.read_bytes()) == ("Official", SUM, CONTENT)
    assert server.starts == [0]
    assert [path.name for path in (tmp_path / "cache/set").iterdir()] == ["file.bin"]


def test_a_broken_download_resumes(source, server, tmp_path):
    server.stop_after = 3_000_000
    refused(source, r"download failed .*run again to resume, or set DATAGRADIENT_DATA")
    assert not (tmp_path / "cache/set/file.bin").exists()
    server.stop_after = None
    assert fetch(source).path.read_bytes() == CONTENT
    assert server.starts[0] == 0 < server.starts[1] <= 3_000_000


def test_a_complete_part_is_used(source, tmp_path):
    (tmp_path / "cache/set").mkdir(parents=True)
    (tmp_path / "cache/set/file.bin.part").write_bytes(CONTENT)
    assert fetch(source).path.read_bytes() == CONTENT


def test_an_altered_download_is_refused_and_removed(source, server, tmp_path):
    server.altered = True
    with pytest.raises(UserError, match=f"file.bin.part: altered or truncated .*expected {SUM}, found sha256:"):
        fetch(source)
    assert not list((tmp_path / "cache/set").iterdir())


def test_a_missing_address_names_the_source_and_the_way_out(source, tmp_path):
    gone = SourceFile(source.path, source.url + "/gone", source.checksums)
    with pytest.raises(UserError, match=r"/gone: download failed \(HTTP Error 404.*set DATAGRADIENT_DATA"):
        fetch(gone)
    assert not list((tmp_path / "cache/set").iterdir())


def test_a_local_copy_is_used_and_nothing_downloaded(source, server, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/file.bin").write_bytes(CONTENT)
    assert fetch(source).path == tmp_path / "set/file.bin"
    assert not server.starts


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


@pytest.mark.parametrize("answer", ["429 Too Many Requests", "503 Busy", "500 Broken"])
def test_a_failure_that_may_pass_is_tried_again(source, server, monkeypatch, capsys, answer):
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    server.answers = [f"HTTP/1.0 {answer}\r\n\r\n".encode(), b""]
    assert fetch(source).path.read_bytes() == CONTENT
    assert f"HTTP Error {answer.replace(' ', ': ', 1)}; next try in 0 s" in capsys.readouterr().err


def test_a_broken_connection_goes_on_by_itself(source, server, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    server.stop_after = 4_000_000
    assert fetch(source).path.read_bytes() == CONTENT
    assert 0 < server.starts[1] < server.starts[2]


def test_what_will_not_pass_is_not_tried_again(source, server, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    server.answers = [b"HTTP/1.0 403 Forbidden\r\n\r\n"] * 3
    assert "run again" not in refused(source, r"/file: download failed \(HTTP Error 403: Forbidden\); set DATAGRADIENT")
    assert server.starts == [0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed connection without response"),
        (b"garbage\r\n\r\n", "garbage"),
        (b"HTTP/1.0 200 " + b"x" * 70_000 + b"\r\n\r\n", "more than 65536 bytes"),
        (b"HTTP/1.0 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nshort", "IncompleteRead.5 bytes read, 4 more expected"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "b'zz"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip", "incorrect header check"),
        (b"HTTP/1.1 302 Moved\r\nLocation: http://[::1\r\n\r\n", "Invalid IPv6 URL"),
        (b"HTTP/1.1 302 Moved\r\nLocation: {self}\r\n\r\n", "Exceeded 30 redirects"),
        (b"HTTP/1.1 206 Part\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\nabc", "bytes from 7 on"),
    ],
)
def test_whatever_a_server_answers_ends_as_one_line(source, server, answer, reason):
    server.answers = [answer] * 40
    refused(source, rf"/file: download failed \(.*{reason}.*set DATAGRADIENT_DATA to a folder that holds set/file.bin")


@pytest.mark.parametrize(
    "endpoint", ["http://[::1", "no scheme", "ftp://host", "http://", "http://a b", "http://\u2024.", "http://127.0.0.1:1",
                 "http://127.0.0.1:99999", "http://.example"],
)  # fmt: skip
def test_a_wrong_endpoint_ends_as_one_line(source, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    mirrored = hugging_face("a/b", "1234", "train.parquet", source.checksums)
    assert mirrored.url == f"{endpoint.rstrip('/')}/datasets/a/b/resolve/1234/train.parquet"
    refused(mirrored, r"train.parquet: download failed \(.*check HF_ENDPOINT, or set DATAGRADIENT_DATA to a folder")


def test_a_certificate_that_is_none_ends_as_one_line(source):
    secure = SourceFile(source.path, source.url.replace("http:", "https:"), source.checksums)
    refused(secure, r"/file: download failed \(.*SSL.*run again to resume, or set DATAGRADIENT_DATA")


def test_a_silent_server_ends_as_one_line(source, server, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    server.hold_after = 1000
    refused(source, r"/file: download failed \(.*timed out.*run again to resume")


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": False},  # the whole file in answer to a range
        {"offset": -1000},  # from before what was asked for
        {"offset": 1000},  # from behind it
        {"headers": ""},  # no length
        {"headers": "Content-Length: many"},
        {"headers": "Content-Encoding: gzip\nContent-Length: {length}", "encode": gzip.compress},
    ],
    ids=["ignored", "too early", "too late", "no length", "a word for the length", "compressed"],
)
def test_a_download_goes_on_whatever_the_server_makes_of_a_range(source, server, folder, change):
    vars(server).update(change)
    (folder / "file.bin.part").write_bytes(CONTENT[:5_000_000])
    assert fetch(source).path.read_bytes() == CONTENT
    assert server.starts[0] == 5_000_000


def test_more_bytes_than_promised_are_not_read(source, server):
    server.encode = lambda body: body + b"more"
    server.headers = f"Content-Length: {len(CONTENT)}"
    assert fetch(source).path.read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"another file" * 1000, CONTENT + b"more"], ids=["altered", "longer"])
def test_a_wrong_part_is_thrown_away_and_the_file_downloaded(source, server, folder, part):
    (folder / "file.bin.part").write_bytes(part)
    assert fetch(source).path.read_bytes() == CONTENT
    assert server.starts == [len(part), 0]


def test_a_full_disk_is_one_line(source, folder):
    (folder / "file.bin.part").symlink_to("/dev/full")
    refused(source, r"set/file.bin: cannot be written \(No space left on device\); set DATAGRADIENT_CACHE")


def test_a_folder_in_place_of_the_file_is_one_line(source, folder):
    (folder / "file.bin").mkdir()
    refused(source, r"set/file.bin: there is a folder in place of the file from .*/file; move it away")


@pytest.mark.parametrize("place", ["cache", "cache/set", "cache/.locks"])
def test_a_file_in_place_of_a_folder_is_one_line(source, server, tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    refused(source, rf"{place}.*: cannot be written \((Not a directory|File exists)\); set DATAGRADIENT_CACHE")
    assert not server.starts


def test_a_folder_in_place_of_a_local_copy_is_one_line(source, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path))
    (tmp_path / "set/file.bin").mkdir(parents=True)
    refused(source, "set/file.bin: not found; DATAGRADIENT_DATA must name a folder")


def another(source, log):
    """A process that fetches the same file; what it says, at once that it waits, goes to a log."""
    script = (
        "from datagradient.files import locks; from datagradient.data.fetch import SourceFile, fetch;"
        "locks.PATIENCE = 0.01;"
        f"print('fetched', fetch(SourceFile(**{vars(source)!r})).checksum)"
    )
    with open(log, "w") as stream:
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=stream, text=True,
                                env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")})  # fmt: skip


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def kill_at(process, part, size):
    wait_until(lambda: part.exists() and part.stat().st_size >= size)
    process.kill()
    process.communicate()


def test_five_processes_download_one_file_once(source, server, folder, tmp_path):
    server.hold_after = 3_000_000  # until the others are there too
    logs = [tmp_path / f"log{i}" for i in range(5)]
    processes = [another(source, log) for log in logs]
    wait_until(lambda: sum("waiting for another process" in log.read_text() for log in logs) == 4)
    server.released.set()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs == [f"fetched {SUM}\n"] * 5, [log.read_text() for log in logs]
    assert server.starts == [0]
    assert [path.name for path in folder.iterdir()] == ["file.bin"]


def test_after_a_kill_the_next_in_turn_goes_on_from_the_part(source, server, folder, tmp_path):
    server.hold_after = 5_000_000
    first = another(source, tmp_path / "first")
    wait_until(lambda: server.starts)
    second = another(source, tmp_path / "second")
    wait_until(lambda: "waiting for another process" in (tmp_path / "second").read_text())
    kill_at(first, folder / "file.bin.part", 4_000_000)
    assert second.communicate(timeout=120)[0] == f"fetched {SUM}\n"
    assert server.starts[0] == 0 and 4_000_000 <= server.starts[1] <= 5_000_000


def test_the_lock_of_a_killed_process_does_not_block(source, server, folder, tmp_path):
    server.hold_after = 3_000_000
    kill_at(another(source, tmp_path / "log"), folder / "file.bin.part", 1)
    assert fetch(source).path.read_bytes() == CONTENT
    assert server.starts[1] > 0

"""Raw data comes from disk, a mirror, a URL or a simulator, and is what its SHA-256 promises."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from weir.errors import UserError
from weir.settings.source import Files
from weir.stages import fetch
from weir.tasks.forecast.settings.dataset import ForecastDataset

CONTENT = b"date,a\n2024-01-01,1\n" * 200_000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Answers by path: `/ok...` well, `/busy` well after two failures, `/cut` never whole."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/gone"):
            self.send_error(404, "Not Found")
        elif self.path == "/down" or (self.path == "/busy" and self.asked.count("/busy") < 3):
            self.send_error(503, "Service Unavailable")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            cut = self.path == "/cut" or (self.path == "/torn" and self.asked.count("/torn") < 2)
            self.wfile.write(CONTENT[: len(CONTENT) // 2] if cut else CONTENT)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a local server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSE_S", 0.0)
    monkeypatch.setattr(Server, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.handle_error = lambda *_: None  # A client that hangs up is what is tested.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tester's own mirror plays no part."""
    monkeypatch.delenv(fetch.MIRROR, raising=False)


def fetched(folder: Path, **source: object) -> dict[str, object]:
    """Fetch into a folder; its `source.json`."""
    output = folder / "raw"
    output.mkdir(exist_ok=True)
    config = SimpleNamespace(task="forecast", source=Files.model_validate(source))
    fetch.run(config, SimpleNamespace(output=output))
    return json.loads((output / "source.json").read_text())


def test_a_local_file_is_copied(tmp_path):
    (tmp_path / "mine.csv").write_bytes(CONTENT)
    path = str(tmp_path / "mine.csv")
    record = fetched(tmp_path, path=path, sha256=SHA)
    assert (tmp_path / "raw" / "mine.csv").read_bytes() == CONTENT
    assert record == {
        "origin": path,
        "files": [{"name": "mine.csv", "sha256": SHA, "bytes": len(CONTENT)}],
    }


def test_the_mirror_comes_before_the_url_and_leaves_the_same_bytes(tmp_path, site, monkeypatch):
    source = {"url": f"{site}/ok/a%20b.csv", "mirror": "set/a.csv", "sha256": SHA}
    fetched(tmp_path, **source)
    from_url = {file.name: file.read_bytes() for file in (tmp_path / "raw").iterdir()}
    assert Server.asked == ["/ok/a%20b.csv"]
    assert sorted(from_url) == ["a b.csv", "source.json"]
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    (tmp_path / "mirror" / "set" / "a.csv").write_bytes(CONTENT)
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path / "mirror"))
    fetched(tmp_path, **source)
    assert len(Server.asked) == 1
    assert {file.name: file.read_bytes() for file in (tmp_path / "raw").iterdir()} == from_url


def test_a_mirror_without_the_file_falls_back_to_the_url(tmp_path, site, monkeypatch):
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    fetched(tmp_path, url=f"{site}/ok.csv", mirror="a.csv", sha256=SHA)
    assert Server.asked == ["/ok.csv"]


def test_a_folder_of_named_files_keeps_its_tree(tmp_path, site):
    tree = {"data/train/0.csv": SHA, "labels.csv": SHA}
    record = fetched(tmp_path, url=f"{site}/ok/", sha256=tree)
    assert sorted(Server.asked) == ["/ok/data/train/0.csv", "/ok/labels.csv"]
    assert [file["name"] for file in record["files"]] == list(tree)
    assert (tmp_path / "raw" / "data" / "train" / "0.csv").read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "asked"), [("busy", 3), ("torn", 2)])
def test_a_stumbling_server_is_asked_again(tmp_path, site, name, asked):
    fetched(tmp_path, url=f"{site}/{name}", sha256=SHA)
    assert len(Server.asked) == asked
    assert (tmp_path / "raw" / name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("gone.csv", 1, r"gone\.csv: the server answers 404 Not Found; fix `url`, or save the "),
        ("down", 4, r"down: no download after 4 attempts \(the server answers 503 Service Unav"),
        ("cut", 4, r"cut: no download after 4 attempts \(IncompleteRead"),
    ],
)
def test_a_failing_server_is_one_clear_line(tmp_path, site, name, asked, message):
    with pytest.raises(UserError, match=message) as error:
        fetched(tmp_path, url=f"{site}/{name}", mirror="set/a.csv", sha256=SHA)
    assert len(Server.asked) == asked
    assert "save the file as set/a.csv in a folder and set WEIR_DATA_MIRROR" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unreachable_host_is_one_clear_line(tmp_path, site):
    del site
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/a: no download after 4 .*check the netw"):
        fetched(tmp_path, url="http://127.0.0.1:9/a", sha256=SHA)


@pytest.mark.parametrize("origin", ["path", "mirror", "url"])
def test_other_bytes_than_promised_are_refused_wherever_they_come_from(
    tmp_path, site, monkeypatch, origin
):
    (tmp_path / "a.csv").write_bytes(CONTENT)
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    place = {"path": str(tmp_path / "a.csv"), "mirror": "a.csv", "url": f"{site}/ok.csv"}
    with pytest.raises(UserError, match=f"SHA-256 is {SHA}, expected 0000") as error:
        fetched(tmp_path, **{origin: place[origin]}, sha256="0" * 64)
    assert "set `sha256` if the new one is right" in str(error.value)
    assert not (tmp_path / "raw" / "source.json").exists()


def test_a_missing_local_file_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"mine\.csv does not exist .* fix `source\.path`"):
        fetched(tmp_path, path=str(tmp_path / "mine.csv"), sha256=SHA)


def test_data_only_in_a_mirror_needs_the_mirror(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"a\.csv is only in a mirror, but WEIR_DATA_MIRROR is not"):
        fetched(tmp_path, mirror="a.csv", sha256=SHA)
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    with pytest.raises(UserError, match="but there is none in"):
        fetched(tmp_path, mirror="a.csv", sha256=SHA)


@pytest.mark.parametrize("origin", ["path", "url"])
def test_a_full_disk_is_one_clear_line(tmp_path, site, monkeypatch, origin):
    def chunks(*_: object) -> Iterator[bytes]:
        yield b""
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "_shown", chunks)
    (tmp_path / "a.csv").write_bytes(CONTENT)
    place = {"path": str(tmp_path / "a.csv"), "url": f"{site}/ok.csv"}[origin]
    with pytest.raises(UserError, match=r"the disk is full while writing .*; free some space"):
        fetched(tmp_path, **{origin: place}, sha256=SHA)


def test_a_simulated_source_is_written_by_its_task(tmp_path):
    config = ForecastDataset.model_validate(
        {"task": "forecast", "source": {"simulator": {"rows": 200}}, "frequency": "1h"}
    )
    fetch.run(config, SimpleNamespace(output=tmp_path))
    record = json.loads((tmp_path / "source.json").read_text())
    assert record["origin"] == "simulator"
    assert [file["name"] for file in record["files"]] == ["simulated.csv", "truth.json"]


def test_a_source_is_recognised_by_its_keys():
    node = {"task": "forecast", "frequency": "1h"}
    simulated = ForecastDataset.model_validate(node | {"source": {"simulator": {}}})
    assert simulated.source.simulator.rows == 4000
    files = ForecastDataset.model_validate(node | {"source": {"path": "a.csv", "sha256": SHA}})
    assert files.source.hashes == {"a.csv": SHA}
    assert ForecastDataset.model_validate(files.model_dump()) == files


def packed(content: bytes) -> bytes:
    """Content as gzip packs it."""
    return gzip.compress(content, mtime=0)


def test_gzip_is_unpacked_whoever_packed_it(tmp_path, site, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CONTENT", packed(CONTENT))
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    other = gzip.compress(gzip.decompress(CONTENT), compresslevel=1)
    assert other != CONTENT
    source = {"url": f"{site}/ok", "mirror": "set", "sha256": {"a.csv": SHA}, "gzip": True}
    first = fetched(tmp_path, **source)
    assert Server.asked == ["/ok/a.csv.gz"]
    (tmp_path / "mirror" / "set" / "a.csv.gz").write_bytes(other)
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path / "mirror"))
    assert fetched(tmp_path, **source) == first
    assert len(Server.asked) == 1
    assert hashlib.sha256((tmp_path / "raw" / "a.csv").read_bytes()).hexdigest() == SHA


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(CONTENT)[:-3], r"a\.csv\.gz breaks off; get it again"),
        (b"no gzip at all", r"a\.csv\.gz cannot be unpacked \(.+ incorrect header check\)"),
        (packed(b"else"), r"a\.csv\.gz: SHA-256 is .+ expected"),
    ],
)
def test_gzip_that_is_damaged_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv.gz").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        fetched(tmp_path, path=str(tmp_path), sha256={"a.csv": SHA}, gzip=True)
    assert "\n" not in str(error.value)


def test_gzip_needs_the_names_of_the_files():
    with pytest.raises(ValueError, match="`gzip` needs a mapping"):
        Files(path="a.gz", sha256=SHA, gzip=True)

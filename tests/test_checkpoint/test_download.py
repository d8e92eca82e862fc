"""Weights by name and address, from a server of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvitssl import apis
from mmvitssl.checkpoint import CheckpointError, check_weights_file
from mmvitssl.checkpoint.download import find_published
from mmvitssl.checkpoint.formats import FORMATS
from mmvitssl.checkpoint.published import PUBLISHED, Published
from mmvitssl.models.backbones import ViT
from tests.builders import build_repre
from tests.test_checkpoint.test_loading import save


class Handler(BaseHTTPRequestHandler):
    """Serves one file; what the address says decides how."""

    content = b""
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        if "hub" in self.path:
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(b"other").hexdigest()}"')
        self.end_headers()
        half = len(self.content) // 2 if "half" in self.path else None
        self.wfile.write(self.content[:half])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the console."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server with a file of weights; downloads go to ``tmp_path/cache``."""
    monkeypatch.setenv("MMVITSSL_CACHE", str(tmp_path / "cache"))
    model = build_repre()
    Handler.content = save(tmp_path / "w.pth", {"state_dict": model.state_dict()}).read_bytes()
    Handler.asked = []
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


def digest() -> str:
    return hashlib.sha256(Handler.content).hexdigest()


def cached(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_file_is_downloaded_once_and_kept_with_its_licence(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    known = Published("mine", f"{server}/mine.pth", "MIT", "", digest()[:8])
    monkeypatch.setitem(PUBLISHED, "mine", known)
    first = check_weights_file("mine", "--pretrained")
    said = capsys.readouterr().err
    assert first.read_bytes() == Handler.content
    assert "licence MIT" in said and digest() in said and "by 8 digits" in said
    record = json.loads(first.with_name("mine.pth.json").read_text())
    assert (record["licence"], record["sha256"]) == ("MIT", digest())
    assert check_weights_file(f"{server}/mine.pth") == first
    assert Handler.asked == ["/mine.pth"]
    first.write_bytes(b"changed on the disk")
    assert check_weights_file("mine").read_bytes() == Handler.content and len(Handler.asked) == 2


def test_another_file_than_expected_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    wrong = f"{server}/a.pth#sha256={'0' * 64}"
    with pytest.raises(CheckpointError, match=f"SHA-256 {digest()}, and 0{{64}} is expected"):
        check_weights_file(wrong)
    with pytest.raises(CheckpointError, match="and deadbeef is expected"):
        check_weights_file(f"{server}/weights-deadbeef.pth")
    with pytest.raises(CheckpointError, match="its server announced"):
        check_weights_file(f"{server}/hub.pth")
    assert cached(tmp_path / "cache") == []
    assert check_weights_file(f"{server}/a.pth#sha256={digest()}").is_file()
    with pytest.raises(CheckpointError, match="the cached .* is expected"):
        check_weights_file(wrong)
    with pytest.raises(CheckpointError, match="8 to 64 hexadecimal digits"):
        check_weights_file(f"{server}/a.pth#sha256=xyz")


def test_an_md5_sum_is_compared_where_only_that_is_published(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sum_ = hashlib.md5(Handler.content).hexdigest()
    for name, digits in (("right", sum_[:6]), ("wrong", "0" * 6)):
        known = Published(name, f"{server}/{name}.pth", "MIT", "", md5=digits)
        monkeypatch.setitem(PUBLISHED, name, known)
    assert check_weights_file("right").is_file()
    assert "MD5 as its authors publish, by 6 digits" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=f"MD5 sum {sum_}, and 000000 is expected"):
        check_weights_file("wrong")


def test_half_a_file_and_no_network_leave_nothing(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"ended after \d+ of \d+ bytes"):
        check_weights_file(f"{server}/half.pth")
    with pytest.raises(CheckpointError, match=r"404 .*curl -LO"):
        check_weights_file(f"{server}/missing.pth")
    with pytest.raises(CheckpointError, match=r"cannot be downloaded .*refused.*curl -LO"):
        check_weights_file("http://127.0.0.1:9/w.pth")
    assert cached(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_an_error_with_the_variable(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMVITSSL_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="MMVITSSL_CACHE"):
        check_weights_file(f"{server}/w.pth")


def test_published_names_are_whole_and_like_names_are_offered() -> None:
    for name, each in PUBLISHED.items():
        assert find_published(name) == each and each.url.startswith("https://")
        assert each.format in FORMATS and each.licence
        assert len(each.sha256) in (0, 8, 64) and len(each.md5) in (0, 6)
    with pytest.raises(FileNotFoundError, match="mae-vit-base"):
        check_weights_file("mae-vitbase")


def test_an_address_goes_into_a_model(server: str, tmp_path: Path) -> None:
    """A file without any description, whose number of heads no tensor shows."""
    with pytest.raises(CheckpointError, match="does not say how its encoder is built.*heads"):
        apis.load(f"{server}/w.pth")
    model = ViT(arch=dict(embed_dim=64, depth=1, num_heads=1), image_size=32, patch_size=8)
    Handler.content = save(tmp_path / "x.pth", {"state_dict": model.state_dict()}).read_bytes()
    with pytest.warns(UserWarning, match="1 are assumed"):
        loaded = apis.load(f"{server}/x.pth")
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded(image), model.eval()(image).cls.detach())

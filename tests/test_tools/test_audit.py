"""Pins against an index's advisories, by a local index."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.test_tools.programs import ROOT

FOUND = dict(id="PYSEC-1", aliases=["CVE-1"], fixed_in=["1.1"], summary="bad", withdrawn=None)
PAGES = {
    "/pypi/bad/1.0/json": dict(info=dict(version="1.0"), vulnerabilities=[FOUND]),
    "/pypi/bad/json": dict(info=dict(version="1.1"), vulnerabilities=[]),
    "/pypi/newest/json": dict(info=dict(version="2.0"), vulnerabilities=[]),
    "/pypi/older/json": dict(info=dict(version="3.0"), vulnerabilities=[]),
}


class Index(BaseHTTPRequestHandler):
    """An index that has a page per version of one project only."""

    def do_GET(self) -> None:
        page = PAGES.get(self.path)
        self.send_response(200 if page else 404)
        self.end_headers()
        self.wfile.write(json.dumps(page).encode())

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


def audit(lock: Path, text: str, index: str) -> subprocess.CompletedProcess[str]:
    lock.write_text(text)
    command = [sys.executable, str(ROOT / "tools/audit.py"), "--lock", str(lock), "--index", index]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_advisories_are_listed_and_what_was_not_compared_is_said(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index, lock = f"http://127.0.0.1:{server.server_port}", tmp_path / "lock.txt"
    good = audit(lock, "newest==2.0 ; sys_platform == 'linux'\n", index)
    assert good.returncode == 0 and "1 pins compared, 0 of them" in good.stdout, good
    old = audit(lock, "newest==2.0\nolder==2.9\n", index)
    words = "older 2.9: not compared; the newest release is 3.0"
    assert old.returncode == 3 and words in old.stdout
    bad = audit(lock, "bad==1.0\nolder==2.9\n", index)
    assert bad.returncode == 1 and "bad 1.0: PYSEC-1 (CVE-1), mended in 1.1: bad" in bad.stdout
    server.shutdown()
    server.server_close()
    offline = audit(lock, "bad==1.0\n", index)
    assert offline.returncode == 2 and f"error: {index} cannot be asked" in offline.stderr

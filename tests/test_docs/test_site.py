"""The documentation as a site, its prose, and what a release states."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_tools.programs import ROOT

sys.path.insert(0, str(ROOT / "tools"))

from build_release import ReleaseError, check_consistent, version
from check_prose import PLACES, check, check_docstrings, find


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Every page is in the navigation, and every link and anchor leads somewhere."""
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site" / "index.html").read_text()
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page)
    assert not [link for link in loaded if "canonical" not in link]  # readable without a network
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in ROOT.glob("docs/**/*.md")}
    found = json.loads((tmp_path / "site/search/search_index.json").read_text())
    listed = {entry["location"].partition("#")[0].strip("/") for entry in found["docs"]}
    assert {str(page).removesuffix("index") for page in pages} <= listed | {""}


def test_pages_and_docstrings_are_plain_english() -> None:
    findings = find(ROOT, PLACES)
    assert not findings, "\n".join(map(str, findings))


def test_long_sentences_and_odd_words_are_found() -> None:
    long = "The encoder " + "and the decoder " * 9 + "see it."
    text = f"# Title\n\n{long}\n\n- a line\n  a file is what was told\n\n```\n{long}\n```\n"
    found = [(finding.kind, finding.line) for finding in check(Path("page.md"), text)]
    assert found == [("long", 3), ("odd", 5), ("odd", 5)]


@pytest.mark.parametrize(
    ("text", "odd"),
    [("One row an image.", 1), ("A ratio of 2 files a second.", 1), ("The SHA-256 of a file.", 0),
     ("Rank, or 0 without a process group.", 0), ("It `gives back` and ``is told``.", 0),
     ("What it gives back.", 1)],
)  # fmt: skip
def test_numbers_of_a_thing_are_no_rates_and_code_is_no_prose(text: str, odd: int) -> None:
    module = f'"""Module.\n\n{text}\n"""\n'
    found = [*check(Path("page.md"), text), *check_docstrings(Path("module.py"), module)]
    assert [finding.kind for finding in found] == ["odd"] * (2 * odd)
    assert not odd or found[-1].line == 3


def test_a_release_states_one_version() -> None:
    check_consistent(f"v{version()}")
    with pytest.raises(ReleaseError, match=r"the tag says 9.9.9"):
        check_consistent("v9.9.9")


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.yml")), ids=lambda path: path.stem)
def test_forms_and_workflows_name_what_exists(path: Path) -> None:
    """YAML loads; programs and make targets that workflows call are there."""
    text = path.read_text()
    assert yaml.safe_load(text)
    for name in re.findall(r"python (tools/\S+\.py)", text):
        assert (ROOT / name).is_file()
    for target in re.findall(r"run: make (\w+)", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert path.parent.name != "ISSUE_TEMPLATE" or "feature" in path.stem or "doctor" in text


def test_the_image_of_a_gpu_node_copies_what_exists() -> None:
    lines = (ROOT / "docker/Dockerfile").read_text().splitlines()
    copied = [part for line in lines if line.startswith("COPY") for part in line.split()[1:-1]]
    assert copied and all((ROOT / part).exists() for part in copied)

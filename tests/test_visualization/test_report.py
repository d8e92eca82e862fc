"""Reports and pictures as files that open."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvitssl.visualization import Report, latest_scalars, plot_curves
from mmvitssl.visualization.curves import curve
from mmvitssl.visualization.sheets import side_by_side


def test_report_is_one_self_contained_page(tmp_path: Path) -> None:
    picture = plot_curves({"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}, "title", "loss", {"chance": 2.5})
    jpeg = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 6), (200, 10, 10)).save(jpeg)
    report = Report("A <report>")
    report.section("First", "text & more")
    report.table(["", "a"], [["row", "1.0"]])
    report.picture(picture, "a curve")
    report.picture(jpeg, "a photo", width=100)
    report.code(["python x.py --a '<b>'"])
    page = report.write(tmp_path / "out" / "report.html").read_text()
    HTMLParser().feed(page)
    assert "A &lt;report&gt;" in page and "text &amp; more" in page and "http" not in page
    embedded = re.findall(r"data:image/(png|jpeg);base64,([^\"]+)", page)
    images = [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in embedded]
    assert [image.format for image in images] == ["PNG", "JPEG"]
    assert images[1].size == (8, 6) and images[0].width > 300


def test_missing_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Report("x").picture(tmp_path / "none.png", "nothing")


def test_scalars_of_the_last_run(tmp_path: Path) -> None:
    for name, value in (("20260101_000000", 1.0), ("20260102_000000", 2.0)):
        folder = tmp_path / name / "vis_data"
        folder.mkdir(parents=True)
        lines = [{"step": 1, "loss": value}, {"step": 2, "loss": value, "acc": 0.5}]
        (folder / "scalars.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    scalars = latest_scalars(tmp_path)
    assert curve(scalars, "loss") == ([1, 2], [2.0, 2.0])
    assert curve(scalars, "acc") == ([2], [0.5])
    with pytest.raises(FileNotFoundError, match="has a training run there"):
        latest_scalars(tmp_path / "nowhere")


def test_pictures_stand_side_by_side() -> None:
    left, right = torch.zeros(3, 3, 4, 5), torch.ones(3, 3, 4, 5)
    sheet = side_by_side({"left": left, "right": right}, rows=2, margin=1)
    assert sheet.shape == (2 * 5 - 1, 2 * 6 - 1, 3) and sheet.dtype == np.uint8
    assert sheet[:4, :5].max() == 0 and sheet[:4, 6:].min() == 255
    assert sheet[4].min() == 255  # the margin


def test_names_of_files_and_metrics_are_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'&$\\frac$.png"
    picture = plot_curves({name: ([1, 2], [3.0, 2.0])}, name, "loss")  # no formula either
    report = Report(name)
    report.section(name, name)
    report.table([name], [[name]])
    report.picture(picture, name)
    report.code([name])
    page = report.write(tmp_path / "report.html").read_text()

    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)
            assert not any(key.startswith("on") for key, _ in attrs)

    Tags().feed(page)
    assert found.count("img") == 1 and "script" not in found


def test_names_that_are_no_utf8_do_not_stop_the_page(tmp_path: Path) -> None:
    report = Report("run-\udcff")
    report.text("<b>")
    assert b"run-\\udcff" in report.write(tmp_path / "a.html").read_bytes()

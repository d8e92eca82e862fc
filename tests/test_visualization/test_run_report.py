"""The page that a run leaves, and the page of several runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmvitssl.engine.provenance import CONFIGS, find_recipe
from mmvitssl.visualization.run_report import charts, read_run, spread, verdict, write_run_report
from tests.test_tools.programs import train, write_config

EVIL = "<script>alert('name')</script>"


class Page(HTMLParser):
    """What a browser would load, and the charts' data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.charts: dict[str, list[dict]] = {}
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag == "script"
        self.loaded += [values[key] or "" for key in ("src", "href") if key in values]
        if "data-chart" in values:
            chart = json.loads(values["data-chart"] or "")
            self.charts[chart["title"]] = chart["lines"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training on images in folders of classes, one with a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    for number in range(12):
        path = folder / "photos" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    config = write_config(folder, folder / "photos", epochs=3)
    train(config, "--work-dir", folder / "run", "--cfg-options", f"experiment_name={EVIL[:4]}")
    return folder / "run"


def test_a_run_leaves_a_page_that_needs_no_network(run: Path) -> None:
    text = (run / "report.html").read_text()
    page = Page(text)
    assert page.loaded and all(link.startswith("data:image/png") for link in page.loaded)
    assert page.scripts == 1 and "@import" not in text and "url(" not in text
    points = page.charts["loss"][0]["points"]
    assert [x for x, _ in points] == list(range(1, 10))
    assert {"health/rankme", "lr", "time", "raw_contrastive"} <= set(page.charts)
    assert "base_lr" not in page.charts  # the same curve
    for words in ("views, step", "reconstruction, step", "neighbours, step", "Effective rank",
                  "Gradient norm"):  # fmt: skip
        assert words in text
    # at the start, in the middle and at the end
    for name in ("reconstruction", "attention"):
        assert re.findall(rf">{name}, step (\d+)<", text) == ["0", "4", "9"]
    assert "9 iterations of 4 images per process" in text and "on 12 images" in text


def test_health_is_logged_and_costs_the_training_nothing(run: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for path in run.glob("*/vis_data/health.json")
             for line in path.read_text().splitlines()]  # fmt: skip
    assert [line["step"] for line in lines] == [3, 9]  # with 16 images, and at the end
    assert all(1 <= line["health/rankme"] <= 16 for line in lines)
    config = write_config(tmp_path, run.parent / "photos", epochs=3)
    off = ["--cfg-options", "default_hooks.health=None", "default_hooks.report=None"]
    train(config, "--work-dir", tmp_path / "run", *off)
    assert not (tmp_path / "run" / "report.html").exists()
    losses = [[line["loss"] for line in read_run(folder, "").scalars if "iter" in line]
              for folder in (run, tmp_path / "run")]  # fmt: skip
    assert losses[0] == losses[1]


def test_changes_from_the_recipe_are_listed(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "_base_ = 'mmvitssl::study/cifar10/mae_vit-p4_cifar10.py'\n"
        f"train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='ImageFolder',\n"
        f"    root='{run.parent / 'photos'}',\n"
        f"    pipeline={{{{_base_.train_dataloader.dataset.pipeline}}}}))\n"
    )
    train(mine, "--work-dir", tmp_path / "run", "--cfg-options", "train_cfg.max_iters=2")
    facts = read_run(tmp_path / "run", "").facts
    assert facts["recipe"] == "study/cifar10/mae_vit-p4_cifar10.py"
    changed = {key: after for key, _, after in facts["changed"]}
    assert changed["train_dataloader.batch_size"] == "4" and changed["train_cfg.max_iters"] == "2"
    assert changed["train_dataloader.dataset.type"] == "'ImageFolder'"
    assert not [key for key in changed if key.startswith(("model.", "default_hooks."))]


def test_a_config_that_stands_alone_names_its_recipe(tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    name = "study/cifar10/mae_vit-p4_cifar10.py"
    for line, found in ((f"# Recipe: {name}", name), ("# Recipe: gone.py", None), ("", None)):
        file.write_text(f"# made to fit\n{line}\nmodel = dict()\n")
        recipe = find_recipe(file)
        assert (recipe and str(recipe.relative_to(CONFIGS.resolve()))) == found


def logged(folder: Path, losses: list[float], warning: str = "", **facts: object) -> Path:
    """A work folder as trainings leave them."""
    data = folder / "20260101_000000" / "vis_data"
    data.mkdir(parents=True)
    lines = [{"loss": loss, "iter": i + 1, "step": i + 1} for i, loss in enumerate(losses)]
    text = "\n".join(json.dumps(line) for line in [*lines, {"accuracy": losses[0], "step": 1}])
    (data / "scalars.json").write_text(text)
    (data.parent / "20260101_000000.log").write_text(f"x - mmengine - WARNING - {warning}\n")
    if facts:
        (data.parent / "run.json").write_text(json.dumps(facts))
    return folder


@pytest.mark.parametrize(
    ("losses", "warning", "state", "words"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0], "", "good", "from 5 to 1"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], "", "doubtful", "did not fall"),
        ([5.0, 4.0], "", "doubtful", "too short"),
        ([5.0, float("nan"), 3.0], "", "bad", "not finite"),
        ([5.0, 4.0, 3.0, 2.0, 1.0], "COLLAPSE? x", "bad", "nearly the same"),
    ],
)
def test_the_verdict_says_how_it_went(
    tmp_path: Path, losses: list[float], warning: str, state: str, words: str
) -> None:
    found = verdict(read_run(logged(tmp_path / "run", losses, warning), "run"))
    assert found[0] == state and words in found[1]


def test_what_a_kill_or_a_full_disk_left_of_a_log_is_left_out(tmp_path: Path) -> None:
    folder = logged(tmp_path / "run", [3.0, 2.0], parameters=1, images=9)
    data = folder / "20260101_000000" / "vis_data"
    for path in (data / "scalars.json", data / "health.json", data.parent / "run.json"):
        text = path.read_text() + "\n" if path.exists() else ""
        path.write_text(text + '{"health/rankme": 2.0, "step": 1}\n{"health/rankme": 3.0, "st')
    found = read_run(folder, "run")
    assert found.values("loss") == [3.0, 2.0] and set(found.values("health/rankme")) == {2.0}
    assert found.facts == {}
    assert write_run_report([folder], tmp_path / "report.html").is_file()


def test_runs_are_compared(tmp_path: Path) -> None:
    common = dict(recipe="mae.py", tasks=["masked"], model="Pretrainer", parameters=1, images=9,
                  batch=3, iterations=5, command=EVIL, started="", git=None, environment={},
                  config=None, encoder={})  # fmt: skip
    seeds = [[["randomness.seed", "0", str(seed)]] for seed in range(2)]
    changes = [*seeds, [["model.width", "32", "64"]]]
    folders = [
        logged(tmp_path / name, [4.0 + i, 3.0, 2.0, 1.5, 1.0], changed=changed, **common)
        for i, (name, changed) in enumerate(zip("abc", changes, strict=True))
    ]
    runs = [read_run(folder, folder.name) for folder in folders]
    assert spread(runs)[1] == [("a, b", ["4.50 ± 0.71 (2)"]), ("c", ["6.00"])]
    text = write_run_report(folders, tmp_path / "out" / "compare.html").read_text()
    page = Page(text)
    assert [line["name"] for line in page.charts["loss"]] == ["a", "b", "c"]
    assert EVIL not in text and "&lt;script&gt;" in text
    assert re.search(r"<th>model.width</th><td>32</td><td>32</td><td>64</td>", text)
    with pytest.raises(ValueError, match="twice"):
        write_run_report([folders[0], folders[0]], tmp_path / "x.html")


def test_long_curves_are_thinned_and_gaps_stay(tmp_path: Path) -> None:
    losses = [1.0] * 4000
    losses[2000] = float("inf")
    (group,) = [found for found in charts([read_run(logged(tmp_path / "r", losses), "r")])
                if found[0] == "Loss"]  # fmt: skip
    points = group[1][0]["lines"][0]["points"]
    assert len(points) == 400 and points[-1] == (4000, 1.0)
    assert [x for x, y in points if y is None] == [2010]


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


# width that is scrolled over, charts that are drawn, the window, luminance of the page, and the
# least contrast of a text with what is behind it (WCAG 2)
MEASURE = """<script>
const light = c => c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const behind = e => { for (; e; e = e.parentElement) {
  const c = numbers(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > .99) return c; }
  return [255, 255, 255]; };
let least = 99;
for (const e of document.querySelectorAll('body *')) {
  if (e.closest('svg, script, style')) continue;
  if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
  const [a, b] = [numbers(getComputedStyle(e).color), behind(e)].map(c => light(c.slice(0, 3)));
  least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
}
document.body.dataset.found = [document.documentElement.scrollWidth,
  document.querySelectorAll('svg path').length, innerWidth,
  light(behind(document.body).slice(0, 3)), least].join();
</script></body>"""
WIDTHS = (390, 820, 1400)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_its_window(run: Path, dark: bool, tmp_path: Path) -> None:
    """Nothing scrolls sideways, the script draws every chart, and texts can be read."""
    other = logged(tmp_path / "another-run-with-a-long-name", [4.0, 3.0, 2.0])
    compared = write_run_report([run, other], tmp_path / "compare.html")
    pages = {"page": run / "report.html", "compared": compared}
    drawn = {name: len(Page(path.read_text()).charts) for name, path in pages.items()}
    for name, path in pages.items():
        (tmp_path / f"{name}.html").write_text(path.read_text().replace("</body>", MEASURE))
    frame = tmp_path / "frame.html"  # headless windows have a least width; frames have none
    frame.write_text(
        "".join(
            f"<iframe src='{name}.html' width={width} height=800 style='border:0' onload=\""
            f'document.title += `${{this.contentDocument.body.dataset.found}},{name};`"></iframe>'
            for name in pages
            for width in WIDTHS
        )
    )
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000",
         "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom",
         f"--blink-settings=preferredColorScheme={0 if dark else 1}", frame.as_uri()],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    title = re.search(r"<title>(.+);</title>", done.stdout)
    assert title, done.stderr[-2000:]
    found = [line.split(",") for line in title[1].split(";")]
    assert len(found) == len(pages) * len(WIDTHS)
    assert sorted({int(line[2]) for line in found}) == list(WIDTHS)
    for scrolled, charts_, inner, luminance, contrast, name in found:
        assert int(scrolled) <= int(inner)
        assert int(charts_) >= drawn[name] > 0
        assert float(luminance) < 0.1 if dark else float(luminance) > 0.8
        assert float(contrast) >= 4.5

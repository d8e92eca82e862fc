"""Every masked method pretrains on real photographs, from its full-size config made small."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from demo import make_demo_data
from mmvitssl.models.tokenizers import load_tokenizer
from tests.marks import some
from tests.test_tools import programs
from tests.test_tools.programs import ROOT, logged, run, train
from tests.test_tools.small_configs import loader, schedule, view

SMALL_CAE = {"context.regressor": dict(depth=2), "context.decoder": dict(depth=2)}
BLOCKS = dict(ratio=16 / 36, min_block=4)
# method: its config, pixels of a view, what is smaller in its task
METHODS: dict[str, tuple[str, int, dict[str, dict[str, Any]]]] = {
    "mae": (
        "mae/mae_vit-base_64xb64-cosine-800e_in1k.py", 48,
        {"masked.neck": dict(width=16, depth=1, num_heads=2)},
    ),
    "simmim": (
        "simmim/simmim_vit-base_16xb128-step-800e_in1k.py", 48,
        {},
    ),
    "lomar": (
        "lomar/lomar_vit-base_4xb256-cosine-400e_in1k.py", 64,
        {"masked.masking": dict(window=5, views=2)},
    ),
    "beit": (
        "beit/beit_vit-base_8xb256-cosine-800e_in1k.py", 48,
        {"masked.masking": BLOCKS},
    ),
    "lomar-beit": (
        "lomar/lomar-beit_vit-base_8xb256-cosine-300e_in1k.py", 64,
        {"masked.masking": dict(window=5, views=2)},
    ),
    "cae": (
        "cae/cae_vit-base_32xb64-cosine-300e_in1k.py", 48,
        {**SMALL_CAE, "context.masking": BLOCKS},
    ),
    "cae-rgb": (
        "cae/cae_vit-base_rgb-32xb64-cosine-300e_in1k.py", 48,
        {**SMALL_CAE, "context.masking": BLOCKS},
    ),
}  # fmt: skip


def write_config(folder: Path, name: str, data: Path, tokenizer: Path | None = None) -> Path:
    """The full-size config of a method with a tiny model, views and schedule."""
    base, size, smaller = METHODS[name]
    config = Config.fromfile(ROOT / "configs" / base)
    encoder = config.model.encoder
    encoder.arch = dict(embed_dim=32, depth=3, num_heads=2)
    encoder.image_size, encoder.patch_size = size, 8
    if "relative_grid" in encoder:
        encoder.relative_grid = 5
    for part, changes in smaller.items():
        task, name_of_part = part.split(".")
        config.model.tasks[task][name_of_part].update(changes)
    (task,) = config.model.tasks.values()
    views = [dict(transforms=view(size, "bicubic"))]
    if task.target.type == "TokenTarget":
        task.target.update(checkpoint=str(tokenizer), vocabulary=32)
        views.append(dict(same_as=0, transforms=view(size, "lanczos")))
    config.train_dataloader = loader(data, views, shuffle=True)
    config.test_dataloader = loader(data, views, shuffle=False)
    config.test_evaluator, config.test_cfg = dict(type="PretextMetric"), dict()
    config.merge_from_dict(schedule(epochs=10, lr=3e-3))
    config.custom_hooks.append(dict(type="TaskPicturesHook", interval=10, rows=2))
    path = folder / f"{name}.py"
    config.dump(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four real scenes over photographs."""
    out = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(out, train=24, val=2, seed=0, image_size=96)
    return out / "images" / "train"


@pytest.fixture(scope="module")
def dvae(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which a tokenizer of 32 ids was trained."""
    folder = tmp_path_factory.mktemp("dvae")
    config = Config.fromfile(ROOT / "configs/tokenizers/dvae_8xb32-50e_in1k.py")
    config.model.update(vocabulary=32, hidden=32, codes=16, blocks=1, temperature=(1.0, 0.3))
    config.train_dataloader = loader(data, [dict(transforms=view(48, "lanczos"))], shuffle=True)
    config.merge_from_dict(schedule(epochs=40, lr=3e-3))
    config.dump(folder / "dvae.py")
    out = folder / "tokenizer.safetensors"
    done = run(
        sys.executable, ROOT / "tools/train_dvae.py", folder / "dvae.py", "--work-dir",
        folder / "run", "--out", out,
    )  # fmt: skip
    assert f"Wrote {out}" in done.stdout
    return folder


@pytest.mark.slow
def test_the_tokenizer_learns_and_uses_its_ids(dvae: Path) -> None:
    lines = logged(dvae / "run")
    errors = [line["error"] for line in lines]
    assert np.mean(errors[-6:]) < 0.75 * np.mean(errors[:3])
    assert np.mean([line["perplexity"] for line in lines[-6:]]) > 4
    tokenizer = load_tokenizer(dvae / "tokenizer.safetensors", 32)
    assert tokenizer.stride == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", some(METHODS, lambda name: name in ("mae", "lomar", "cae")))
def test_the_loss_falls(name: str, data: Path, dvae: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, name, data, dvae / "tokenizer.safetensors")
    # bf16 is what the full-size configs train in; here as the option that overrides it. All are
    # traced as for compilation
    train(config, "--work-dir", tmp_path / "run", "--amp", "bf16", "--compile", "aot_eager")
    lines = logged(tmp_path / "run")
    (task,) = (key.removeprefix("raw_") for key in lines[0] if key.startswith("raw_"))
    losses = [line[f"raw_{task}"] for line in lines]
    assert len(losses) == 30
    assert np.mean(losses[-6:]) < np.mean(losses[:3]) * 0.97
    picture = next((tmp_path / "run").glob(f"*/vis_data/vis_image/{task}_10.png"))
    assert np.asarray(Image.open(picture)).std() > 10
    if name not in ("lomar", "cae"):  # one of each kind of task
        return
    done = programs.test(config, tmp_path / "run/last.pth", "--show-dir", tmp_path / "pictures")
    assert programs.value(done.stdout, f"pretext/raw_{task}") < np.mean(losses[:3])
    assert list((tmp_path / "pictures").glob("*.png"))


@pytest.mark.slow
def test_without_a_tokenizer_the_run_ends_before_it_starts(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, "beit", data, tmp_path / "none.safetensors")
    done = train(config, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 2
    assert "There is no tokenizer at" in done.stdout and "tools/train_dvae.py" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_window_without_patches_ends_the_run_before_it_starts(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, "lomar", data)
    option = "model.tasks.masked.masking.window=0"
    done = train(config, "--work-dir", tmp_path / "run", "--cfg-options", option, ok=False)
    assert done.returncode == 2 and "Traceback" not in done.stdout
    assert "WindowMasking needs window >= 1" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_a_missing_second_view_ends_the_run_before_it_starts(
    data: Path, dvae: Path, tmp_path: Path
) -> None:
    path = write_config(tmp_path, "beit", data, dvae / "tokenizer.safetensors")
    config = Config.fromfile(path)
    config.train_dataloader.dataset.pipeline[1].views.pop()
    config.dump(path)
    done = train(path, "--work-dir", tmp_path / "run", ok=False)
    assert done.returncode == 2 and "add views to MultiView" in " ".join(done.stdout.split())

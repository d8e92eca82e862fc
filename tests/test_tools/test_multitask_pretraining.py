"""Multi-task ViT, SiT and compositions train from their full-size configs made small."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from demo import make_demo_data
from mmvitssl.checkpoint import load_file
from mmvitssl.engine import training
from mmvitssl.engine.launch import UserError
from tests.marks import some
from tests.test_tools.programs import ROOT, logged
from tests.test_tools.small_configs import loader, schedule, view

STEM = "_vit-small_32xb128-cosine-300e_in1k.py"
NAMES = (
    "contrast", "rotation", "colour", "place", "jigsaw", "paint", "contrast-rotation",
    "rotation-colour", "place-jigsaw", "jigsaw-paint", "all", "hidden", "uncertainty", "pareto",
    "repre", "lomar",
)  # fmt: skip
CONFIGS = {name: f"mtssl/mtssl-{name}{STEM}" for name in NAMES}
CONFIGS["figure-1"] = f"mtssl/mtssl{STEM}"
CONFIGS["sit"] = "mtssl/sit_vit-base_4xb72-cosine-501e_in1k.py"
PARTS_OF_ALL = NAMES[: NAMES.index("all")]
SIDE, PATCH, CELLS = 48, 8, 36
EPOCHS, STEPS = 2, 2  # steps an epoch
WIDTH = dict(in_channels=32)
MLP = dict(hidden_channels=32, out_channels=16)
# what is smaller in each kind of task; 4 + 4 + 6 + 8 of 36 patches are altered
SMALLER: dict[str, dict[str, Any]] = {
    "Contrastive": dict(projector=dict(WIDTH, **MLP)),
    "SelfDistillation": dict(
        projector=dict(WIDTH, prototypes=32, hidden_channels=32, bottleneck=16),
        head=dict(prototypes=32),
        local_views=(2, 3),
    ),
    "Rotation": WIDTH,
    "Colorization": dict(WIDTH, patches=4, hidden=16),
    "RelativePosition": dict(WIDTH, pairs=2),
    "Jigsaw": dict(WIDTH, patches=6, cells=CELLS, hidden=16),
    "Inpainting": dict(WIDTH, patches=8, patch_size=PATCH),
    "Reconstruction": dict(
        levels=(0, 1, 2, 3), neck=dict(WIDTH, width=16, patch_size=PATCH), head=dict()
    ),
    "MaskedModeling": dict(
        masking=dict(window=5, views=2),
        neck=dict(WIDTH, out_channels=3 * PATCH**2),
        target=dict(patch_size=PATCH),
    ),
}
DINO = """
_base_ = '{root}/configs/dino/dino_vit-small_8xb128-cosine-100e_in1k.py'
model = dict(
    encoder=dict(prefix_tokens=('rotation', ), unknown_position=True),
    tasks=dict(
        rotation=dict(type='Rotation', in_channels=384, views=(0, 1)),
        colour=dict(type='Colorization', in_channels=384, views=(0, 1), predicts='bins'),
        place=dict(
            type='RelativePosition', in_channels=384, views=(0, 1), hide_position=True),
        jigsaw=dict(type='Jigsaw', in_channels=384, views=(0, ), position='hidden')),
    balancer=dict(type='ParetoWeights'))
"""


def shrink(config: Config, data: Path, epochs: int = EPOCHS) -> None:
    """A tiny model, views and schedule; the tasks, tokens, targets and weights stay."""
    encoder = config.model.encoder
    encoder.update(arch=dict(embed_dim=32, depth=4, num_heads=2), image_size=SIDE)
    encoder.patch_size = PATCH
    for task in config.model.tasks.values():
        update(task, SMALLER[task.type])
        if "predictor" in task:
            task.predictor.update(in_channels=16, **MLP)
    views = [dict(num=2, transforms=view(SIDE, "bilinear"))]
    if "distillation" in config.model.tasks:
        views.append(dict(num=2, transforms=view(24, "bilinear")))
    config.train_dataloader = loader(data, views, shuffle=True)
    config.merge_from_dict(schedule(epochs, lr=2e-3))
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    for hook in config.get("custom_hooks", []):
        if hook.type == "CollapseHook":
            hook.update(interval=2, patience=1000)


def update(old: Any, new: dict[str, Any]) -> None:
    """Change what is there, part by part."""
    for key, value in new.items():
        if isinstance(value, dict):
            update(old[key], value)
        else:
            old[key] = value


def write_config(folder: Path, path: Path, data: Path) -> Path:
    config = Config.fromfile(path)
    shrink(config, data)
    config.dump(folder / "small.py")
    return folder / "small.py"


def train(config: Path, work_dir: Path, name: str, *options: str) -> Any:
    """Through the program's own preparation, in this process."""
    if "--cfg-options" not in options:
        options = (*options, "--cfg-options")
    named = f"experiment_name={name}"
    arguments = [str(config), "--work-dir", str(work_dir), *options, named]
    return training.train(training.parser(None).parse_args(arguments))


def raw_losses(work_dir: Path, run_number: int = -1) -> torch.Tensor:
    """(steps, tasks) of one of the runs in a work folder."""
    lines = logged(work_dir, run_number)
    names = sorted(key for key in lines[0] if key.startswith("raw_"))
    return torch.tensor([[line[name] for name in names] for line in lines])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen real scenes over photographs."""
    out = tmp_path_factory.mktemp("data") / "demo"
    make_demo_data(out, train=8 * STEPS, val=2, seed=0, image_size=64)
    return out / "images" / "train"


def check_run(runner: Any, work_dir: Path) -> None:
    """Finite logs of every task at every step, and no part of the model that stood still."""
    model, lines = runner.model, logged(work_dir)
    assert len(lines) == EPOCHS * STEPS
    assert all(np.isfinite(value) for line in lines for value in line.values())
    assert all(f"raw_{name}" in lines[0] and f"weight_{name}" in lines[0] for name in model.tasks)
    start = load_file(work_dir / "epoch_1.pth")["state_dict"]
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        # biases that a later norm takes out again have no gradient but noise
        if parameter.requires_grad and "bias" not in name:
            assert not torch.equal(parameter, start[name]), name
    if model.target is not None:
        assert int(model.target.updates) == EPOCHS * STEPS


@pytest.mark.slow
@pytest.mark.parametrize("name", some(CONFIGS, lambda name: name not in PARTS_OF_ALL))
def test_it_trains(name: str, data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, ROOT / "configs" / CONFIGS[name], data)
    runner = train(config, tmp_path / "run", f"mtssl-{name}")
    check_run(runner, tmp_path / "run")
    lines = logged(tmp_path / "run")
    for key in ("rotation_accuracy", "place_accuracy", "jigsaw_accuracy"):
        assert all(0 <= line.get(key, 0.0) <= 1 for line in lines)
    if name in ("uncertainty", "pareto", "sit"):
        weights = [key for key in lines[0] if key.startswith("weight_")]
        assert all(lines[0][key] != lines[-1][key] for key in weights)
    if name == "pareto":
        total = sum(lines[-1][f"weight_{task}"] for task in runner.model.tasks)
        assert total == pytest.approx(4.0, rel=1e-3)


@pytest.mark.slow
def test_dino_and_tasks_on_patches_train_together(data: Path, tmp_path: Path) -> None:
    """With tokens of its own, and no more than a config that inherits DINO's."""
    (tmp_path / "joined.py").write_text(DINO.format(root=ROOT))
    config = write_config(tmp_path, tmp_path / "joined.py", data)
    runner = train(config, tmp_path / "run", "dino-multitask")
    check_run(runner, tmp_path / "run")
    model = runner.model
    assert set(model.tasks) == {"distillation", "rotation", "colour", "place", "jigsaw"}
    assert model.tasks["distillation"].head.center.abs().sum() > 0
    online = dict(model.encoder.named_parameters())
    moved = [not torch.equal(online[name], value) for name, value in
             model.target["encoder"].named_parameters()]  # fmt: skip
    assert any(moved)  # the teacher follows, and is not the student


@pytest.mark.slow
def test_resume_draws_the_corruption_of_the_run_that_was_not_interrupted(
    data: Path, tmp_path: Path
) -> None:
    """All six tasks: patches, pairs, permutations, crops, colours and turns are the same again."""
    config = write_config(tmp_path, ROOT / "configs" / CONFIGS["all"], data)
    train(config, tmp_path / "whole", "resume-whole")
    # without its logs: a run that begins within the same second would write to the same folder
    shutil.copytree(tmp_path / "whole", tmp_path / "run", ignore=shutil.ignore_patterns("20*"))
    for path in [*(tmp_path / "run").glob("*.pth"), tmp_path / "run/last_checkpoint"]:
        if path.name != "epoch_1.pth":
            path.unlink()
    first = tmp_path / "run" / "epoch_1.pth"
    train(config, tmp_path / "run", "resume-rest", "--resume", str(first))
    resumed, whole = raw_losses(tmp_path / "run"), raw_losses(tmp_path / "whole")
    assert resumed.shape == (STEPS * (EPOCHS - 1), 6)
    torch.testing.assert_close(resumed, whole[STEPS:], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(whole[STEPS:], whole[:-STEPS], rtol=1e-3)  # epochs differ


@pytest.mark.slow
def test_bf16_and_tracing_for_compilation_run(data: Path, tmp_path: Path) -> None:
    """All tasks, positions hidden: the first losses are those of float32 but for rounding."""
    config = write_config(tmp_path, ROOT / "configs" / CONFIGS["all"], data)
    options = Config.fromfile(config)
    options.model.encoder.unknown_position = True
    options.model.tasks.place.hide_position = True
    options.model.tasks.jigsaw.position = "hidden"
    options.dump(config)
    exactly = "optim_wrapper.type=OptimWrapper"  # the configs train in bf16, and so do all above
    train(config, tmp_path / "exact", "exact", "--cfg-options", exactly)
    runner = train(config, tmp_path / "run", "switched", "--amp", "bf16", "--compile", "eager")
    check_run(runner, tmp_path / "run")
    exact, switched = raw_losses(tmp_path / "exact"), raw_losses(tmp_path / "run")
    assert not torch.equal(exact[0], switched[0])
    torch.testing.assert_close(switched[0], exact[0], rtol=0.06, atol=0.02)


@pytest.mark.slow
def test_too_many_patches_end_the_run_before_it_starts(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, ROOT / "configs" / CONFIGS["all"], data)
    many = ("--cfg-options", "model.tasks.paint.patches=30")
    with pytest.raises(UserError, match=r"30 \(paint\).* = 44 patches, but a view has 6 x 6 = 36"):
        train(config, tmp_path / "run", "many", *many)
    assert not list((tmp_path / "run").glob("*/vis_data/scalars.json"))

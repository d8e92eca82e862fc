"""From config and options to a runner: each mistake is named before training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmvitssl.checkpoint import CheckpointError
from mmvitssl.engine import launch
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.optim import AutocastOptimWrapper
from mmvitssl.engine.wrappers import CPUDistributedDataParallel

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without GPU")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(launch.UserError, match=r"no config file .*nothing\.py"):
        read_config(str(tmp_path / "nothing.py"))


def test_misspelt_top_level_key(tmp_path: Path) -> None:
    path = write(tmp_path / "config.py", "train_dataloadr = dict(batch_size=2)\n")
    with pytest.raises(launch.UserError, match="did you mean 'train_dataloader'"):
        read_config(path)


def test_a_config_is_logged_and_saved_without_yapf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """yapf takes half a minute over long paths; what is written instead says the same."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("yapf was called")

    text = "a = [1, (2.5, None)]\nmodel = dict(type='ViT', x={'c d': True}, y=\"it's\")\n"
    write(tmp_path / "base.py", text)
    path = write(tmp_path / "config.py", "_base_ = 'base.py'\nmodel = dict(depth=3)\n")
    config = read_config(path)
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", refuse)
    assert "depth=3" in copy.deepcopy(config).pretty_text
    config.dump(tmp_path / "saved.py")
    assert read_config(str(tmp_path / "saved.py")).to_dict() == config.to_dict()
    assert config.model == {"type": "ViT", "x": {"c d": True}, "y": "it's", "depth": 3}
    assert config.filename == path and "base.py" in config.text


def test_variables_of_a_config_are_no_mistakes(tmp_path: Path) -> None:
    path = write(tmp_path / "config.py", "data_root = 'data'\ncrop_size = 224\niterations = 3\n")
    assert read_config(path, {"crop_size": 96}).crop_size == 96


@pytest.mark.parametrize("scope", ["mmdet", "mmseg"])
def test_missing_data_of_detectors_and_segmentors(tmp_path: Path, scope: str) -> None:
    dataset = dict(
        type="RepeatDataset",
        times=2,
        dataset=dict(
            type="CocoDataset",
            data_root=str(tmp_path),
            ann_file="instances.json",
            data_prefix=dict(img="images/"),
        ),
    )
    config = Config(dict(default_scope=scope, train_dataloader=dict(dataset=dataset)))
    with pytest.raises(launch.UserError, match=r"train_dataloader reads .*images.*does not exist"):
        launch.check_data(config, ("train_dataloader", "val_dataloader"))
    (tmp_path / "images").mkdir()
    with pytest.raises(launch.UserError, match=r"instances\.json.*does not exist"):
        launch.check_data(config, ("train_dataloader",))
    (tmp_path / "instances.json").write_text("{}")
    launch.check_data(config, ("train_dataloader",))


def test_precision() -> None:
    config = Config(dict(optim_wrapper=dict(type="AmpOptimWrapper", loss_scale="dynamic", lr=1)))
    launch.set_precision(config, "bf16")
    assert dict(config.optim_wrapper) == dict(type="mmvitssl.AutocastOptimWrapper", lr=1)
    exact = Config(dict(optim_wrapper=dict(type="AutocastOptimWrapper", precision="fp32")))
    launch.set_precision(exact, "bf16")
    assert "precision" not in exact.optim_wrapper  # bf16 is the wrapper's default
    with pytest.raises(launch.UserError, match="needs an optim_wrapper"):
        launch.set_precision(Config({}), "bf16")


@needs_no_gpu
def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(launch.UserError, match="--amp fp16 needs a CUDA GPU; use --amp bf16"):
        launch.set_precision(Config(dict(optim_wrapper={})), "fp16")
    amp = Config(dict(optim_wrapper=dict(type="AmpOptimWrapper")))
    with pytest.raises(launch.UserError, match="AmpOptimWrapper needs a GPU"):
        launch.set_devices(amp, "none")
    with pytest.raises(launch.UserError, match="--launcher slurm needs GPUs"):
        launch.set_devices(Config({}), "slurm")


@needs_no_gpu
def test_synchronised_norms_are_replaced_on_cpus() -> None:
    norm = dict(type="SyncBN", requires_grad=True)
    config = Config(dict(model=dict(neck=[dict(norm_cfg=norm)], head=dict(norm_cfg=norm))))
    launch.set_devices(config, "none")
    assert config.model.neck[0].norm_cfg.type == "BN"
    assert config.model.head.norm_cfg == dict(type="BN", requires_grad=True)


def test_auto_scale_lr_needs_the_batch_size() -> None:
    with pytest.raises(launch.UserError, match="base_batch_size"):
        launch.set_auto_scale_lr(Config({}))
    config = Config(dict(auto_scale_lr=dict(base_batch_size=32, enable=False)))
    launch.set_auto_scale_lr(config)
    assert config.auto_scale_lr.enable and config.auto_scale_lr.base_batch_size == 32
    config = Config(
        dict(auto_scale_lr=dict(base_batch_size=32), optim_wrapper=dict(accumulative_counts=4))
    )
    launch.set_auto_scale_lr(config)
    assert config.auto_scale_lr.base_batch_size == 8  # that of one of four iterations


def test_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(dict(work_dir=str(tmp_path)))
    launch.set_resume(config, "auto")
    assert not config.get("resume") and "starting from the beginning" in capsys.readouterr().out
    with pytest.raises(launch.UserError, match=r"no checkpoint .*gone\.pth"):
        launch.set_resume(config, str(tmp_path / "gone.pth"))
    path = write(tmp_path / "epoch_1.pth", "")
    launch.set_resume(config, path)
    assert config.resume and config.load_from == path


def test_work_dir_defaults_to_the_configs_name() -> None:
    config = Config({})
    launch.default_work_dir(config, "configs/demo/upernet.py", None)
    assert config.work_dir == "work_dirs/upernet"
    launch.default_work_dir(config, "configs/demo/upernet.py", "elsewhere")
    assert config.work_dir == "elsewhere"


def test_an_unknown_argument_names_its_module() -> None:
    from mmvitssl.registry import MODELS

    mend = "ViT has no argument 'drop_paht': did you mean 'drop_path'"
    with pytest.raises(launch.UserError, match=mend), launch.building():
        MODELS.build(dict(type="ViT", arch="tiny", drop_paht=0.1))
    unknown = "VisionTransfomer is not in the mmvitssl::model"
    with pytest.raises(launch.UserError, match=unknown), launch.building():
        MODELS.build(dict(type="VisionTransfomer"))


def test_a_running_training_keeps_its_traceback() -> None:
    def train() -> None:
        raise ValueError("something in the middle of it")

    with pytest.raises(ValueError, match="in the middle"):
        launch.run_or_explain(train)


@pytest.mark.parametrize(
    "error", [launch.UserError("why"), CheckpointError("why"), FileNotFoundError("why")]
)
def test_what_a_user_can_mend_is_one_paragraph(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        launch.run_or_explain(fail)
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[0] == "error: why"
    monkeypatch.setenv("MMVITSSL_TRACEBACK", "1")
    with pytest.raises(type(error)):
        launch.run_or_explain(fail)


def test_autocast_computes_in_bfloat16_and_keeps_float32_parameters() -> None:
    model = torch.nn.Linear(4, 4)
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the names of threads")
def test_a_program_closes_its_connections_before_it_ends() -> None:
    """gloo's threads abort about one process in ten that ends before them."""

    def train() -> None:
        torch.distributed.init_process_group(
            "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
        )
        model = CPUDistributedDataParallel(torch.nn.Linear(1, 1))
        model.module.wrapper = [model]  # what runners do: it lives until it is collected
        assert "pt_gloo_runloop" in threads()

    def threads() -> set[str]:
        return {task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")}

    launch.run_or_explain(train)
    assert not torch.distributed.is_initialized()
    assert "pt_gloo_runloop" not in threads()

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

    text = "log_level = 'INFO'\nresume = False\na = [1, (2.5, None)]\n"
    text += "model = dict(type='ViT', x={'c d': True}, y=\"it's\")\n"
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
    text = "data_root = 'data'\nmodel = dict(size=data_root)\n"
    path = write(tmp_path / "config.py", text)
    assert read_config(path).data_root == "data"
    with pytest.raises(launch.UserError, match="'data_root' is a variable of the config"):
        read_config(path, {"data_root": "other"})
    write(tmp_path / "mine.py", "_base_ = 'config.py'\nlog_level = _base_.data_root\n")
    assert read_config(str(tmp_path / "mine.py")).log_level == "data"
    # what MMEngine saved holds variables that nothing reads any more
    write(
        tmp_path / "pipelines.py",
        "test_pipeline = []\ntest_dataloader = dict(pipeline=test_pipeline)\n"
        "log_level = 'INFO'\nmodel = dict()\n",
    )
    read_config(str(tmp_path / "pipelines.py")).dump(tmp_path / "saved.py")
    assert read_config(str(tmp_path / "saved.py")).test_pipeline == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("optim_wraper = dict()", "did you mean 'optim_wrapper'"),
        ("max_epochs = 5", "belongs to train_cfg.max_epochs"),
        ("optimizer = dict(type='SGD')", "belongs to optim_wrapper.optimizer"),
        ("gradient_clip = 1.0", "no variable of the config that another line reads"),
    ],
)
def test_top_level_keys_that_nothing_reads(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path / "config.py", f"model = dict()\n{line}\nlog_level = 'INFO'\n")
    with pytest.raises(launch.UserError, match=f"which nothing reads.*{words}"):
        read_config(path)


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
def test_the_number_of_workers_can_be_changed_alone() -> None:
    loader = dict(num_workers=0, persistent_workers=True, prefetch_factor=2, batch_size=4)
    kept = dict(num_workers=2, persistent_workers=True)
    config = Config(dict(train_dataloader=loader, val_dataloader=kept))
    (note,) = launch.follow_workers(config)
    assert "persistent_workers and prefetch_factor" in note
    assert config.train_dataloader == dict(num_workers=0, batch_size=4)
    assert config.val_dataloader == kept


def test_synchronised_norms_are_replaced_on_cpus() -> None:
    norm = dict(type="SyncBN", requires_grad=True)
    config = Config(dict(model=dict(neck=[dict(norm_cfg=norm)], head=dict(norm_cfg=norm))))
    launch.set_devices(config, "none")
    assert config.model.neck[0].norm_cfg.type == "BN"
    assert config.model.head.norm_cfg == dict(type="BN", requires_grad=True)


def rated(batch: int, **settings: object) -> Config:
    return Config(
        dict(
            train_dataloader=dict(batch_size=batch),
            optim_wrapper=dict(accumulative_counts=2, optimizer=dict(lr=2.4e-3)),
            param_scheduler=[dict(type="CosineAnnealingLR", eta_min=1e-5)],
            auto_scale_lr=dict(base_batch_size=4096, **settings),
        )
    )


def test_the_rate_follows_the_batch_and_a_saved_config_is_not_scaled_again() -> None:
    config = rated(4)
    (note,) = launch.set_learning_rate(config, None)
    assert "0.0024, stated for 4096 images per step, is scaled to 4.6875e-06 for 8" in note
    assert config.optim_wrapper.optimizer.lr == pytest.approx(2.4e-3 * 8 / 4096)
    assert config.param_scheduler[0].eta_min == pytest.approx(1e-5 * 8 / 4096)
    assert launch.set_learning_rate(config, None) == []
    assert launch.set_learning_rate(config, True) == []
    assert config.optim_wrapper.optimizer.lr == pytest.approx(2.4e-3 * 8 / 4096)


def test_a_rate_is_used_as_it_is_where_that_is_said() -> None:
    literal = ("optim_wrapper.optimizer.lr",)
    for config, scale, options in (
        (rated(4), False, ()), (rated(4, enable=False), None, ()), (rated(4), None, literal),
    ):  # fmt: skip
        (note,) = launch.set_learning_rate(config, scale, options)
        assert "used as it is, at 8 images per step" in note
        assert config.optim_wrapper.optimizer.lr == 2.4e-3
    assert launch.set_learning_rate(rated(2048), None) == []
    scaled = rated(4, enable=False)
    assert launch.set_learning_rate(scaled, True) and scaled.optim_wrapper.optimizer.lr < 1e-5
    with pytest.raises(launch.UserError, match="base_batch_size"):
        launch.set_learning_rate(Config({}), True)


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


USERS_CODE = """
from mmvitssl.registry import MODELS

@MODELS.register_module(force=True)
class Mine:
    def __init__(self, kind):
        if kind == "key":
            {}["width"]
        if kind == "file":
            open("/no/such/file")
        if kind == "library":
            int("seven")
        raise ValueError("mine")
"""


@pytest.mark.parametrize(
    ("kind", "error"), [("key", KeyError), ("value", ValueError), ("library", ValueError),
                        ("file", FileNotFoundError)],
)  # fmt: skip
def test_errors_of_the_users_own_class_keep_their_traceback(
    tmp_path: Path, kind: str, error: type[Exception]
) -> None:
    from mmvitssl.registry import MODELS

    code = compile(USERS_CODE, write(tmp_path / "mine.py", USERS_CODE), "exec")
    exec(code, {"__name__": "mine"})

    def main() -> None:
        with launch.building():
            MODELS.build(dict(type="Mine", kind=kind))

    with pytest.raises(error) as caught:
        launch.run_or_explain(main)
    assert not isinstance(caught.value, launch.UserError)
    assert caught.traceback[-1].path == tmp_path / "mine.py"


def test_a_missing_key_is_more_than_its_name() -> None:
    words = r"KeyError: .*looks for the key 'width'.*line \d+"
    with pytest.raises(launch.UserError, match=words), launch.building():
        _ = dict[str, int]()["width"]


@pytest.mark.parametrize("error", [launch.UserError("why"), CheckpointError("why")])
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

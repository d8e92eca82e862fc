"""Files that would run a program if anything of them were imported, built or executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader
from PIL import Image
from safetensors.torch import save_file

from mmvitssl import compat
from mmvitssl.checkpoint import CheckpointError, load_encoder, load_file
from mmvitssl.checkpoint.convert import export_file, import_file, inspect_file
from mmvitssl.checkpoint.self_described import rebuild_encoder
from mmvitssl.engine.launch import UserError, check_data
from mmvitssl.models.backbones import ViT
from mmvitssl.models.data_preprocessor import build_preprocessor
from mmvitssl.models.targets import TokenTarget
from mmvitssl.models.tokenizers import DiscreteVAE, save_tokenizer
from mmvitssl.registry import MODELS
from tests.test_checkpoint.test_loading import Malicious
from tests.test_tools.programs import ROOT, run, write_config

SETTINGS = dict(
    type="ViT", arch=dict(embed_dim=16, depth=2, num_heads=2), image_size=16, patch_size=8
)
BARE = {key: value for key, value in SETTINGS.items() if key != "type"}


def marker(folder: Path) -> Path:
    return folder / "it-ran"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that must not appear, and a package that writes it when it is imported."""
    package = tmp_path / "path" / "evil"
    package.mkdir(parents=True)
    for name in ("__init__", "registry", "models"):
        code = f"open({str(marker(tmp_path))!r}, 'w').close()\nViT = ViewPreprocessor = dict\n"
        (package / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(package.parent)
    for name in [name for name in sys.modules if name.split(".")[0] == "evil"]:
        monkeypatch.delitem(sys.modules, name)
    return marker(tmp_path)


def touch(trap: Path) -> dict[str, Any]:
    """A config that writes the file where it is built."""
    return dict(type="os.system", command=f"touch {shlex.quote(str(trap))}")


# what a checkpoint could say of its encoder, each with the words of the refusal
CONFIGS: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "function": (lambda trap: dict(encoder=touch(trap)), "names the type 'os.system'"),
    "of-a-library": (
        lambda trap: dict(encoder=dict(type="pathlib.Path.touch", self=str(trap))), "pathlib"
    ),
    "import": (lambda trap: dict(encoder=dict(SETTINGS, type="evil.models.ViT")), "evil.models"),
    "scope": (lambda trap: dict(encoder=dict(SETTINGS, type="evil.ViT")), "'evil.ViT'"),
    "scope-key": (lambda trap: dict(encoder=dict(SETTINGS, _scope_="evil")), "_scope_='evil'"),
    "other-class": (
        lambda trap: dict(encoder=dict(type="DenseFeatures", encoder=touch(trap))), "DenseFeatures"
    ),
    "inside": (lambda trap: dict(encoder=dict(SETTINGS, layer_scale=touch(trap))), "os.system"),
    "in-a-list": (
        lambda trap: dict(encoder=dict(SETTINGS, prefix_tokens=[touch(trap)])), "os.system"
    ),
    "own-prefix": (lambda trap: dict(encoder=dict(touch(trap), type="mmvitssl.os.system")), "os"),
    "no-string": (lambda trap: dict(encoder=dict(SETTINGS, type=["os.system"])), "os.system"),
    "timms-file": (
        lambda trap: dict(
            encoder=dict(type="TimmBackbone", model="convnext_atto", image_size=32,
                         model_args=dict(checkpoint_path=str(trap.with_suffix(".pth"))))),
        "downloads or reads weights|norm_eps|does not take",
    ),
    "timms-download": (
        lambda trap: dict(
            encoder=dict(type="TimmBackbone", model="convnext_atto", image_size=32,
                         model_args=dict(pretrained=True))),
        "downloads or reads weights|norm_eps|does not take",
    ),
    "huge": (
        lambda trap: dict(encoder=dict(SETTINGS, arch=dict(BARE["arch"], embed_dim=2**18))), "GB"
    ),
    "timms-endless": (
        lambda trap: dict(
            encoder=dict(type="TimmBackbone", model="vit_tiny_patch16_224", image_size=32,
                         model_args=dict(depth=10**5))),
        "layers",
    ),
    "no-model": (
        lambda trap: dict(
            encoder=dict(type="TimmBackbone", model="vit_tiny_patch16_224", image_size=32,
                         model_args=dict(embed_dim=1000))),
        "cannot be built|does not take",
    ),
    "endless": (
        lambda trap: dict(encoder=dict(SETTINGS, arch=dict(BARE["arch"], depth=10**6))), "layers"
    ),
}  # fmt: skip


def state() -> dict[str, torch.Tensor]:
    return {f"encoder.{key}": value for key, value in ViT(**BARE).state_dict().items()}


def written(folder: Path, kind: str, config: dict[str, Any]) -> Path:
    """A checkpoint that says something of its encoder, in each of the places that are read."""
    if kind == "safetensors":
        path = folder / "encoder.safetensors"
        said = {"written_by": "mmvitssl", **config}
        save_file(state(), str(path), {"mmvitssl": json.dumps(said)})
        return path
    texts = {
        "json": {"mmvitssl": json.dumps(config)},
        "cfg": {"cfg": f"model = {dict(config)!r}"},
        "backbone": {"cfg": f"model = dict(backbone={dict(config)!r})"},
        "plain": dict(config),
    }
    path = folder / "model.pth"
    torch.save({"meta": texts[kind], "state_dict": state()}, path)
    return path


def test_the_traps_are_live(trap: Path) -> None:
    for config in (touch(trap), dict(SETTINGS, type="evil.models.ViT")):
        MODELS.build(config)
        trap.unlink()  # fails unless it ran


@pytest.mark.parametrize("kind", ["json", "cfg", "backbone", "plain", "safetensors"])
def test_what_is_ours_is_built(tmp_path: Path, kind: str) -> None:
    config = dict(SETTINGS, type="mmvitssl.ViT", _scope_="mmvitssl")
    path = written(tmp_path, kind, dict(encoder=config))
    encoder, _ = rebuild_encoder(path, log=lambda line: None)
    assert all(torch.equal(v, load_file(path)["state_dict"][f"encoder.{k}"])
               for k, v in encoder.state_dict().items())  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["json", "cfg", "safetensors"])
def test_an_encoder_out_of_a_file_is_ours_or_nothing(
    tmp_path: Path, trap: Path, kind: str, name: str
) -> None:
    make, words = CONFIGS[name]
    path = written(tmp_path, kind, make(trap))
    outs = [tmp_path / "out.safetensors", tmp_path / "out.onnx", tmp_path / "timm.pth"]
    readers: list[Callable[[], Any]] = [
        lambda: rebuild_encoder(path, log=lambda line: None),
        lambda: rebuild_encoder(path, log=lambda line: None, options={"encoder.norm_eps": 1e-6}),
        lambda: export_file(path, outs[1], "onnx"),
        lambda: export_file(path, outs[2], "timm", only_encoder=True),
    ]
    for read in readers:
        with pytest.raises(CheckpointError, match=words):
            read()
    # these build nothing: they may take the weights, or say what is wrong
    inspect_file(path)
    load_encoder(ViT(**BARE), path, log=lambda line: None)
    if kind == "safetensors":
        import_file(path, tmp_path / "imported.pth")
    assert not trap.exists() and "evil" not in sys.modules
    assert not any(out.exists() for out in outs)


@pytest.mark.parametrize("kind", ["json", "cfg", "safetensors"])
def test_a_preprocessor_out_of_a_file_is_two_lists_of_numbers(
    tmp_path: Path, trap: Path, kind: str
) -> None:
    for name, extra in (
        ("ViewPreprocessor", dict(augment=touch(trap))),
        ("evil.ViewPreprocessor", {}),
        ("evil.models.ViewPreprocessor", {}),
    ):
        told = dict(type=name, mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.1], **extra)
        path = written(tmp_path, kind, dict(encoder=SETTINGS, data_preprocessor=told))
        _, said = rebuild_encoder(path, log=lambda line: None)
        built: Any = build_preprocessor(said.preprocessor)
        assert built.augment is None
        assert built.mean.flatten().tolist() == pytest.approx(told["mean"])
        lines = export_file(path, tmp_path / "out.safetensors", "safetensors")
        assert lines and b"evil" not in (tmp_path / "out.safetensors").read_bytes()
    assert not trap.exists() and "evil" not in sys.modules


def test_the_text_of_a_config_is_not_a_program(tmp_path: Path, trap: Path) -> None:
    program = f"__import__('os').system('touch {trap}')"
    for text in (
        f"model = {program}",
        f"model = dict(encoder={program})",
        f"model = dict(encoder=dict(type='ViT', arch={program}))",
        f"x = {program}\nmodel = dict(encoder=x)",
        f"model = [{program} for _ in 'a']",
        "model = " + "(" * 500,
        "model = " + "-" * 100_000 + "1",
        "model = {[]: 1}",
        "_base_ = ['evil.py']\nmodel = 'x'",
        17,
        b"model",
    ):
        path = tmp_path / "model.pth"
        torch.save({"meta": {"cfg": text}, "state_dict": state()}, path)
        with pytest.raises(CheckpointError):
            rebuild_encoder(path, log=lambda line: None)
    for meta in ("cfg", ["encoder"], {"mmvitssl": "[" * 100_000}, {"mmvitssl": "3"}):
        torch.save({"meta": meta, "state_dict": state()}, path)
        with pytest.raises(CheckpointError):
            rebuild_encoder(path, log=lambda line: None)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["os.system", "evil.models.ViT", "evil.ViT", "ViT", "Pretrainer"])
def test_a_tokenizer_file_holds_one_of_our_tokenizers(
    tmp_path: Path, trap: Path, name: str
) -> None:
    config = dict(touch(trap), type=name)
    path = tmp_path / "tokenizer.safetensors"
    save_tokenizer(DiscreteVAE(vocabulary=8, hidden=4, codes=2, blocks=1), path)
    tensors = {"codebook.weight": torch.zeros(8, 2)}
    save_file(tensors, str(path), {"mmvitssl_tokenizer": json.dumps(config)})
    # as a pretraining of BEiT reads it, before its first step
    with pytest.raises(CheckpointError, match=r"tokenizer's config inside .* names the type"):
        TokenTarget(checkpoint=str(path), vocabulary=8).load_frozen()
    nested = dict(type="DiscreteVAE", vocabulary=8, data_preprocessor=touch(trap))
    save_file(tensors, str(path), {"mmvitssl_tokenizer": json.dumps(nested)})
    with pytest.raises(CheckpointError, match="is a config of its own"):
        TokenTarget(checkpoint=str(path), vocabulary=8).load_frozen()
    assert not trap.exists() and "evil" not in sys.modules


def test_no_scheme_of_mmengine_unpickles(
    tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmengine.runner import checkpoint

    compat.prepare_mmengine()
    data = pickle.dumps({"state_dict": {}, "extra": Malicious(trap)})
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, to, *a, **k: Path(to).write_bytes(data)
    )
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match="would run code"):
        CheckpointLoader.load_checkpoint("https://example.org/evil.pth", map_location="cpu")
    stream = io.BytesIO(data)  # as object stores hand it over
    with pytest.raises(CheckpointError, match="would run code"):
        checkpoint._safe_torch_load(stream)
    annotations = tmp_path / "annotations.pkl"  # as mmdet's data sets read any file
    annotations.write_bytes(data)
    with pytest.raises(ValueError, match="is a pickle"):
        mmengine.load(str(annotations))
    config = Config(dict(train_dataloader=dict(dataset=dict(ann_file=str(annotations)))))
    with pytest.raises(UserError, match=r"annotations\.pkl, a pickle.*train_dataloader.dataset"):
        check_data(config, ("train_dataloader",))
    assert not trap.exists()


@pytest.mark.slow
def test_resume_and_pictures_run_nothing_of_a_checkpoint(tmp_path: Path, trap: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(8):
        Image.new("RGB", (40, 40), (number * 20, 90, 30)).save(images / f"{number}.png")
    config, work = write_config(tmp_path, images, epochs=1), tmp_path / "work"
    run(sys.executable, ROOT / "tools/train.py", config, "--work-dir", work)
    path = work / "epoch_1.pth"
    content = load_file(path)
    described = json.loads(content["meta"]["mmvitssl"])
    assert described["encoder"]["type"].removeprefix("mmvitssl.") == "ViT"
    assert described["tasks"] == {"contrastive": "Contrastive", "reconstruction": "Reconstruction"}
    # without the text of the config the checkpoint still says how its encoder is built
    del content["meta"]["cfg"]
    torch.save(content, tmp_path / "described.pth")
    encoder, said = rebuild_encoder(tmp_path / "described.pth", log=lambda line: None)
    assert said.tasks["contrastive"] == "Contrastive" and isinstance(encoder, ViT)
    program = f"import os\nos.system('touch {trap}')\n"
    content["meta"]["config"] = content["meta"]["cfg"] = program
    content["meta"]["mmvitssl"] = json.dumps(dict(encoder=touch(trap)))
    torch.save(content, path)
    config = write_config(tmp_path, images, epochs=2)
    done = run(sys.executable, ROOT / "tools/train.py", config, "--work-dir", work, "--resume")
    assert "resumed epoch: 1" in done.stdout and (work / "epoch_2.pth").is_file()
    done = run(
        sys.executable, ROOT / "tools/visualize.py", "attention", path, images / "0.png",
        "--out", tmp_path / "out", ok=False, PYTHONPATH=os.pathsep.join(sys.path),
    )  # fmt: skip
    assert done.returncode == 2 and "names the type 'os.system'" in done.stdout
    assert not trap.exists()

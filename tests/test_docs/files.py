"""Files that the documentation's commands read and that other commands must make first."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from mmvitssl.models.backbones import ViT
from tests.test_tools.programs import ROOT
from tests.test_tools.test_checkpoint_tool import write_dall_e
from tests.test_tools.test_study import STUDY

Run = Callable[[list[str]], None]
REPRE = "configs/repre/repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py"
MAE = "configs/mae/mae_vit-base_64xb64-cosine-800e_in1k.py"
CAE = "configs/cae/cae_vit-base_rgb-32xb64-cosine-300e_in1k.py"
DINO = "configs/dino/dino_vit-small_8xb128-cosine-300e_in1k.py"
MOBY = "configs/moby/moby_swin-tiny_8xb64-cosine-100e_in1k.py"
CAMVID = "configs/transfer/camvid/pretrain/mae_vit-tiny-6_1xb32-200_camvid.py"
TOKENIZER = "configs/tokenizers/dvae_8xb32-50e_in1k.py"
LINEAR = "configs/probe/linear-mae_vit-base_32xb512-cosine-90e_in1k.py"
ATTENTIVE = "configs/probe/attentive-mae_vit-base_32xb256-cosine-90e_in1k.py"


def pretrained(config: str, *options: str) -> list[list[str]]:
    """A pretraining of two steps into the folder of the file that is wanted."""
    return [["python", "tools/train.py", config, "--work-dir", "{folder}", *options]]


def exported(source: str, layout: str, *options: str) -> list[list[str]]:
    command = ["python", "tools/checkpoint.py", "export", source, "{path}", "--format", layout]
    return [[*command, *options]]


# the first pattern that a path fits says by which commands it is made
RECIPES: tuple[tuple[str, list[list[str]]], ...] = (
    (r"work_dirs/mae/last\.pth", pretrained(MAE)),
    (r"work_dirs/cae/last\.pth", pretrained(CAE)),
    (r"work_dirs/dino/last\.pth", pretrained(DINO)),
    (r"work_dirs/moby/last\.pth", pretrained(MOBY)),
    (r"work_dirs/mine/last\.pth", pretrained(REPRE)),
    (r"work_dirs/camvid/last\.pth", pretrained(CAMVID)),
    (r"work_dirs/[ab]", [["python", "tools/train.py", REPRE, "--work-dir", "{path}"]]),
    (r"work_dirs/linear/last\.pth", pretrained(LINEAR, "--pretrained", "work_dirs/mae/last.pth")),
    (
        r"work_dirs/attentive/last\.pth",
        pretrained(ATTENTIVE, "--pretrained", "work_dirs/mae/last.pth"),
    ),
    (r"(mae_pretrain_vit_base|official)\.pth", exported("work_dirs/mae/last.pth", "mae")),
    (r"cae_base\.pth", exported("work_dirs/cae/last.pth", "cae")),
    (r"dino\.pth", exported("work_dirs/dino/last.pth", "dino")),
    (
        r"my\.safetensors|data/tokenizers/dvae\.safetensors",
        [["python", "tools/train_dvae.py", TOKENIZER, "--work-dir", "work_dirs/for-{stem}",
          "--out", "{path}"]],
    ),
    (
        r"data/tokenizers/dalle\.safetensors",
        [["python", "tools/checkpoint.py", "convert-dalle", "encoder.pkl", "{path}", "--decoder",
          "decoder.pkl", "--trust"]],
    ),
)  # fmt: skip
RECORDINGS = ROOT / "tests/data/parity"


def provide(folder: Path, word: str, run: Run) -> None:
    """Make the file that a word of a command names, if it is one of those and not there yet."""
    path = folder / word
    recording = RECORDINGS / word
    if not re.search(r"[./]", word) or path.exists():
        return
    if word.endswith(".npz") and recording.is_file():
        shutil.copy(recording, path)
    if word == "vit-small.pth":  # full-size, for programs that build the encoder themselves
        torch.save({"state_dict": ViT("small", image_size=224).state_dict()}, path)
    if word == "small_study.py":
        study = STUDY[: STUDY.index("finetune =")]
        path.write_text(study.replace("STEPS", "2").replace("images.npz", "cifar10.npz"))
    if word == "encoder.pkl":
        write_dall_e(folder)
    for pattern, commands in RECIPES:
        if re.fullmatch(pattern, word):
            for command in commands:
                names = dict(path=word, folder=Path(word).parent, stem=Path(word).stem)
                run([part.format(**names) for part in command])
            return

"""Run the documentation's blocks: each command and each config at small size.

Commands are those of the page, word for word, but for

- placeholders (``CONFIG``, ``IMAGE...``), whose values the page or :data:`PLACEHOLDERS` states;
- the words of :data:`SUBSTITUTES`, and the number of GPUs, in whose place are two processes;
- options that are added, which make configs, images and measurements small.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import DictAction

from gpu_checks.small import dicts
from mmvitssl.engine.config_files import read_config
from mmvitssl.registry import TRANSFORMS
from tests.test_docs.blocks import Block, DocsError, commands
from tests.test_docs.files import provide
from tests.test_docs.shrink import STEPS, small_options
from tests.test_docs.workspace import environment
from tests.test_tools import forked

TIMEOUT = 1200
PROCESSES = 2
PLACEHOLDERS = {
    "IMAGE...": "data/images/0.jpg data/images/1.jpg",
    "FILE...": "work_dirs/mine/last.pth official.pth",
    "GPUS": str(PROCESSES),
    "CHECKPOINT": "work_dirs/mine/last.pth",
    "CKPT": "work_dirs/mine/last.pth",
}
SUBSTITUTES = {
    "/path/to/images": "data/images",
    # a second measurement, of other sizes
    "lomar@896": "lomar@224",
    "lomar@224": "lomar@112",
}
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b(?:\.\.\.)?")
OUTPUTS = ("--out", "--work-dir", "--show-dir")
TRAINERS = ("train.py", "train_dvae.py", "dist_train.sh")
CONFIGURED = (*TRAINERS, "test.py", "dist_test.sh", "visualize.py", "knn.py")
BENCHMARK = ["--image-size", "112", "--batch-size", "2", "--repeat", "1"]
# options that are added to programs without a config
ADDED = {
    "benchmark.py": [*BENCHMARK, "--arch", "ViT-S/16"],
    "scaling.py": ["--image-size", "112"],
    "study.py": ["--results", "results"],
}


class Failure(AssertionError):
    """A command of the documentation that did not do what it says."""


@contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Let configs import modules of a folder."""
    places = [] if folder is None else [str(folder)]
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)


class Runner:
    """Runs the blocks of one page in a workspace, in the page's order or alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = environment(folder)

    def run(self, block: Block) -> None:
        """Run a block.

        Raises:
            DocsError: the block cannot be run as it is written.
            Failure: a command failed, or a training did not take two steps with finite losses.
        """
        if block.language == "bash":
            for words in commands(block.text):
                filled = self.fill(words, block)
                for before, word in itertools.pairwise(filled):
                    if before not in OUTPUTS:
                        self.provide(word.partition("=")[2] or word)
                self.command(filled)
        else:
            self.python(block)

    def provide(self, word: str) -> None:
        provide(self.folder, word, self.made)

    def made(self, words: list[str]) -> None:
        """Run a command that makes a file, after those that make what it reads."""
        for word in words:
            if re.fullmatch(r"work_dirs/\w+/last\.pth|encoder\.pkl", word):
                self.provide(word)
        self.command(words)

    def fill(self, words: list[str], block: Block) -> list[str]:
        """Words with values in place of placeholders, and of what cannot be had in a test."""
        values = {**PLACEHOLDERS, **block.values}

        def value(match: re.Match[str]) -> str:
            if match[0] not in values:
                raise DocsError(
                    f"{block.id}: {match[0]} has no value. State one in a comment before the "
                    f"block: <!-- run with: {match[0]}=... -->"
                )
            return values[match[0]]

        result: list[str] = []
        for word in words:
            for name, substitute in self.literal(block).items():
                word = re.sub(rf"(^|=){re.escape(name)}$", rf"\g<1>{substitute}", word)
            result += PLACEHOLDER.sub(value, word).split()
        return result

    def literal(self, block: Block) -> dict[str, str]:
        """Whole words, no placeholders, that are replaced."""
        of_block = {k: v for k, v in block.values.items() if not PLACEHOLDER.fullmatch(k)}
        return {**SUBSTITUTES, **of_block}

    def command(self, words: list[str]) -> None:
        """Run one command at small size."""
        words = list(words)
        env = dict(self.env)
        while re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            env[name] = f"{value}:{env[name]}" if name == "PYTHONPATH" else value
        program = next((Path(w).name for w in words if w.endswith((".py", ".sh"))), words[0])
        processes = self.limit_processes(words, program)
        if program in CONFIGURED and "curves" not in words:
            with importable(self.folder if env["PYTHONPATH"].startswith(".:") else None):
                self.shrink(words, processes)
        words += ADDED.get(program, [])
        if "--compile" in words:  # needs a compiler, and minutes
            words.remove("--compile")
        before = self.logs(words) if program in TRAINERS else []
        self.execute(words, env)
        if program in TRAINERS:
            self.check_steps(words, before)

    def limit_processes(self, words: list[str], program: str) -> int:
        """Two in place of however many; 1 for a command of one process."""
        if program in ("dist_train.sh", "dist_test.sh"):
            place = 2 if program == "dist_train.sh" else 3
        elif "--nproc_per_node" in words:
            place = words.index("--nproc_per_node") + 1
        else:
            return 1
        if not words[place].isdecimal():
            raise DocsError(f"'{shlex.join(words)}': {words[place]} is no number of GPUs.")
        words[place] = str(PROCESSES)
        return PROCESSES

    def shrink(self, words: list[str], processes: int) -> None:
        """Append the options that make the command's config small."""
        files = [word for word in words if word.endswith((".py", ".sh"))]
        configs = files[1:]  # the first is the program
        if not configs or not configs[0].startswith("configs/"):
            if "attention" in words:  # the checkpoint describes its encoder
                return
            raise DocsError(f"'{shlex.join(words)}' names no config in configs/.")
        parser = argparse.ArgumentParser()
        parser.add_argument("--cfg-options", nargs="+", action=DictAction)
        options = parser.parse_known_args(words)[0].cfg_options
        config = read_config(str(self.folder / configs[0]), options)
        for node in dicts(config._cfg_dict):  # frozen parts
            self.provide(str(node.get("checkpoint", "")))
        small = small_options(config, processes)
        if "visualize.py" in words[1]:  # a model, and images, no training
            small = [o for o in small if o.startswith(("model", "encoder", "bank", "queries"))]
            small += ["batch_size=4", "workers=0"] if "embedding" in words else []
        words += ["--cfg-options", *small]

    def execute(self, words: list[str], env: dict[str, str]) -> None:
        """Run a command as it is; another exit status than 0 is a failure."""
        if words[0] == "python" and words[1].endswith(".py"):
            done = forked.run(words[1:], self.folder, env, TIMEOUT)
        else:
            line = words if words[0] != "source" else ["bash", "-c", shlex.join(words)]
            done = subprocess.run(
                line, cwd=self.folder, env=env, text=True, timeout=TIMEOUT,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        if done.returncode != 0:
            raise Failure(
                f"exit status {done.returncode} of\n{shlex.join(words)}\n{done.stdout[-6000:]}"
            )

    def logs(self, words: list[str]) -> list[Path]:
        """Logs in the work folder of a training, oldest first."""
        if "--work-dir" in words:
            work_dir = self.folder / words[words.index("--work-dir") + 1]
        else:
            config = next(w for w in words[1:] if w.startswith("configs/") and w.endswith(".py"))
            work_dir = self.folder / "work_dirs" / Path(config).stem
        return sorted(work_dir.glob("*/vis_data/scalars.json"))

    def check_steps(self, words: list[str], before: list[Path]) -> None:
        """The training logged two steps with finite losses."""
        new = [path for path in self.logs(words) if path not in before]
        lines = [json.loads(line) for path in new for line in path.read_text().splitlines()]
        losses = [line["loss"] for line in lines if "loss" in line]
        if len(losses) != STEPS or not all(map(math.isfinite, losses)):
            raise Failure(f"{shlex.join(words)} has losses {losses}, not of {STEPS} steps.")

    def python(self, block: Block) -> None:
        """Train a config, build a part of one, or run a program."""
        tree = ast.parse(block.text)
        assigned = {
            target.id for node in tree.body if isinstance(node, ast.Assign)
            for target in node.targets if isinstance(target, ast.Name)
        }  # fmt: skip
        if all(isinstance(node, ast.Expr) for node in tree.body):
            self.build(tree)
        elif "_base_" in assigned:
            self.train(block)
        elif assigned & {"model", "train_dataloader", "custom_hooks", "train_cfg"}:
            raise DocsError(f"{block.id} is part of a config: give it the _base_ that it changes.")
        else:
            name = block.file or f"{Path(block.page).stem}_{block.number}.py"
            path = self.write(block, name)
            self.execute(["python", str(path)], self.env)

    def write(self, block: Block, name: str) -> Path:
        """Write a Python block, and make the files that it names."""
        text = block.text
        for old, new in self.literal(block).items():
            text = text.replace(f"'{old}'", f"'{new}'")
        for word in re.findall(r"'([\w./-]+)'", text):
            self.provide(word)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path.relative_to(self.folder)

    def train(self, block: Block) -> None:
        """Train the config two steps; OPTIONS of the comment are added to the command."""
        name = self.write(block, f"configs/mine/{Path(block.page).stem}_{block.number}.py")
        options = shlex.split(block.values.get("OPTIONS", ""))
        for word in options:
            self.provide(word)
        places = ["PYTHONPATH=."] if "custom_imports" in block.text else []
        self.command([*places, "python", "tools/train.py", str(name), *options])

    def build(self, tree: ast.Module) -> None:
        """Each ``dict(type=...)`` on its own is built as a transform of a pipeline."""
        for node in tree.body:
            assert isinstance(node, ast.Expr)
            settings = eval(compile(ast.Expression(node.value), "block", "eval"), {})
            TRANSFORMS.build(settings)

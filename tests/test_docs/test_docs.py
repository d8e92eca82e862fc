"""Every command and Python block of README.md and docs/ runs at small size, or says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.marks import some
from tests.test_docs.blocks import Block, DocsError, commands, read_blocks, read_pages
from tests.test_docs.runner import Failure, Runner
from tests.test_docs.workspace import make_workspace
from tests.test_tools.programs import ROOT

BLOCKS = read_pages(ROOT)
# those of make test; make test-all runs all
DEFAULT_PAGES = ("README.md",)
DEFAULT_BLOCKS = ("docs/pretrain.md#2", "docs/add_a_task.md#1", "docs/add_a_task.md#2")


def in_default_run(block: Block) -> bool:
    return block.page in DEFAULT_PAGES or block.id in DEFAULT_BLOCKS


@pytest.fixture(scope="module")
def runner_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Runner]:
    """One runner, and so one workspace, per page, made when it is asked for."""
    return cache(lambda page: Runner(make_workspace(tmp_path_factory.mktemp("docs"))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", some([block for block in BLOCKS if block.excuse is None], in_default_run),
    ids=lambda block: block.id,
)  # fmt: skip
def test_block_runs(block: Block, runner_of: Callable[[str], Runner]) -> None:
    runner_of(block.page).run(block)


def test_the_pages_are_read() -> None:
    """Not few of them, as a change of the layout might make it without a word."""
    assert {"README.md", "docs/pretrain.md", "docs/methods/cae.md"} <= {b.page for b in BLOCKS}
    assert len(BLOCKS) == sum(
        line.lstrip().startswith(("```bash", "```shell", "```python"))
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for line in page.read_text().splitlines()
    )
    for block in BLOCKS:
        if block.language == "python":
            compile(block.text, block.id, "exec")
        elif block.excuse is None:
            assert commands(block.text)


PAGE = """
<!-- not run: needs 8 GPUs -->

```bash
tools/dist_train.sh A 8   # more
```

<!-- run with: CONFIG=a.py
     NAME="b c" -->
```bash
python x.py CONFIG \\
    --work-dir 'NAME #1'
```

Text with `<!-- run: nothing -->`.

- in a list
  <!-- run as: my_package/task.py -->
  ```python
  if True:
      x = 1
  ```

```text
a drawing
```
"""


def test_comments_before_blocks_are_read() -> None:
    excused, shell, python = read_blocks("page.md", PAGE)
    assert excused.id == "page.md#1" and excused.line == 4
    assert excused.excuse == "needs 8 GPUs"
    assert shell.excuse is None and shell.values == {"CONFIG": "a.py", "NAME": "b c"}
    assert commands(shell.text) == [["python", "x.py", "CONFIG", "--work-dir", "NAME #1"]]
    assert python.file == "my_package/task.py" and python.text == "if True:\n    x = 1\n"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- not run: -->\n```bash\nls\n```", "is none of '<!-- not run: REASON -->'"),
        ("<!-- not run -->\n```bash\nls\n```", "is none of"),
        ("<!-- skip: needs a GPU -->\n```bash\nls\n```", "is none of"),
        ("<!-- run with: CONFIG -->\n```bash\nls\n```", "is not NAME=VALUE"),
        ("```\nls\n```", "language '' is none of"),
        ("```rust\nls\n```", "language 'rust' is none of"),
        ("```bash\nls\n", "is not closed"),
    ],
)
def test_what_only_nearly_states_something_is_an_error(page: str, message: str) -> None:
    with pytest.raises(DocsError, match=message):
        read_blocks("page.md", page)


@pytest.mark.parametrize("line", ["for a in b; do", "a | b", "a > b", "a && b", "done"])
def test_what_needs_a_shell_is_an_error(line: str) -> None:
    with pytest.raises(DocsError, match="needs a shell"):
        commands(line)


@pytest.mark.parametrize("losses", [[1.0], [1.0, 0.9, 0.8], [1.0, float("nan")], []])
def test_a_training_takes_two_steps_with_finite_losses(losses: list[float], tmp_path: Path) -> None:
    words = ["python", "tools/train.py", "configs/a.py", "--work-dir", "run"]
    log = tmp_path / "run/now/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    runner = Runner(tmp_path)
    log.write_text("".join(json.dumps(dict(loss=loss)) + "\n" for loss in losses))
    with pytest.raises(Failure, match="losses"):
        runner.check_steps(words, before=[])
    log.write_text('{"loss": 1.0}\n{"loss": 0.9}\n{"accuracy": 1.0}\n')
    runner.check_steps(words, before=[])
    with pytest.raises(Failure, match="losses"):  # another run's log
        runner.check_steps(words, before=[log])


def test_wrong_commands_fail(tmp_path: Path) -> None:
    """A path, an option or a placeholder that is wrong, and a part of a config without its base."""
    (tmp_path / "configs").mkdir()
    runner = Runner(tmp_path)
    for text, message in (
        ("python tools/train.py configs/none.py\n", "There is no config file"),
        ("python tools/train.py CONFIG\n", "CONFIG has no value"),
        ("ls no_such_folder\n", "no_such_folder"),
    ):
        with pytest.raises(Exception, match=message):
            runner.run(Block("page.md", 1, 1, "bash", text))
    with pytest.raises(DocsError, match="is part of a config"):
        runner.run(Block("page.md", 1, 1, "python", "model = dict(type='Pretrainer')\n"))
    with pytest.raises(KeyError, match="LoadImagee"):
        runner.run(Block("page.md", 1, 1, "python", "dict(type='LoadImagee')\n"))

"""The built wheel, in an environment that holds what the wheel declares and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(sysconfig.get_paths()["purelib"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("mmvitssl", "configs", "tools"):
        leftovers = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leftovers)
    flags = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    command = [sys.executable, "-m", "pip", "wheel", *flags, "-w", str(folder), str(source)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})
    return next(folder.glob("mmvitssl-*.whl"))


def needed(asked: Distribution, extras: frozenset[str] = frozenset({""})) -> Iterator[Requirement]:
    """What a distribution requires here, with some of its extras."""
    for text in asked.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def closure(asked: Distribution) -> dict[str, Distribution]:
    """Everything that is installed with a distribution, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(needed(asked))
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = frozenset({"", *requirement.extras})
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        assert requirement.specifier.contains(found[name].version, prereleases=True), requirement
        waiting += needed(found[name], extras)
    return found


def files(of: Distribution) -> list[Path]:
    """Its files, relative to the folder of packages."""
    paths = [Path(path) for path in of.files or ()]
    return [path for path in paths if ".." not in path.parts and "__pycache__" not in path.parts]


def link(chosen: dict[str, Distribution], site: Path) -> None:
    """Link the packages of the chosen distributions into an environment, and no other files."""
    others = [d for d in distributions() if canonicalize_name(d.metadata["Name"]) not in chosen]
    shared = {path.parts[0] for other in others for path in files(other)}
    for name, each in chosen.items():
        assert files(each), f"{name} does not say which files it has"
        for path in files(each):
            part = path if path.parts[0] in shared else Path(path.parts[0])
            target = site / part
            if not target.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(Path(str(each.locate_file(part))))


def install(wheel: Path, python: Path) -> None:
    """Put the wheel itself into an environment that has no pip."""
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it declares."""
    venv = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    install(wheel, python)
    site = next(venv.glob("lib/python*/site-packages"))
    itself = Distribution.at(next(site.glob("mmvitssl-*.dist-info")))
    link(closure(itself), site)
    return python


def run(python: Path, code: str, folder: Path) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [python, "-I", "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


IMPORT_ALL = """
import importlib, pkgutil, sys, traceback
import mmvitssl
from mmvitssl.extras import MissingExtraError
failed, of_extras = {}, []
for module in pkgutil.walk_packages(mmvitssl.__path__, "mmvitssl."):
    try:
        importlib.import_module(module.name)
    except MissingExtraError:
        of_extras.append(module.name)
    except BaseException as error:
        failed[module.name] = repr(error)
assert not failed, failed
assert of_extras == ["mmvitssl.models.rpn_head"], of_extras
print(sum(name.startswith("mmvitssl") for name in sys.modules), "mmcv" in sys.modules)
"""


@pytest.mark.slow
def test_every_module_imports_with_what_the_wheel_declares(python: Path, tmp_path: Path) -> None:
    number, mmcv = run(python, IMPORT_ALL, tmp_path).split()
    assert int(number) > 100 and mmcv == "False"


MESSAGES = """
import sys
from pathlib import Path
from mmengine.config import Config
from mmvitssl.engine.config_files import read_config
from mmvitssl.engine.launch import UserError, prepare_scope, run_or_explain
from mmvitssl.visualization.embedding import check_method
import mmvitssl
configs = Path(mmvitssl.__file__).parent / ".mim" / "configs"
assert read_config(str(next((configs / "mae").glob("mae_*.py")))).model
def message(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)
message(lambda: read_config(str(next((configs / "transfer/coco").glob("mask-rcnn_vit-s*.py")))))
message(lambda: read_config(str(next((configs / "transfer/ade20k").glob("upernet_vit-s*.py")))))
message(lambda: prepare_scope(Config(dict(default_scope="mmdet"))))
message(lambda: check_method("umap"))
"""


def test_errors_name_the_extra_that_is_missing(python: Path, tmp_path: Path) -> None:
    first, second, third, fourth = run(python, MESSAGES, tmp_path).splitlines()
    assert first.startswith("UserError") and "mmdet" in first
    assert second.startswith("UserError") and "mmseg" in second
    assert all("pip install 'mmvitssl[transfer]'" in line for line in (first, second, third))
    assert "pip install 'mmvitssl[umap]'" in fourth


def notebook(path: Path) -> str:
    """The code of a notebook's cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


AFTERWARDS = """
import sys
assert "mmcv" not in sys.modules
assert found.values.shape == (20, 192) and picture.is_file()
assert done.metrics["accuracy/top1"] > 50
print("done")
"""


@pytest.mark.slow
def test_the_notebook_runs_without_mmcv(python: Path, tmp_path: Path) -> None:
    """A notebook's calls, and the program as pip installs it."""
    code = notebook(ROOT / "docs" / "notebook.ipynb") + AFTERWARDS
    assert run(python, code, tmp_path).endswith("done\n")
    found = run(python, PROGRAM, tmp_path)
    assert "mmvitssl.cli:main" in found
    assert "mae/mae_vit-small_64xb64-cosine-800e_in1k.py" in found


PROGRAM = """
import sys
from importlib.metadata import entry_points
(program,) = entry_points(group="console_scripts", name="mmvitssl")
print(program.value)
sys.argv = ["mmvitssl", "models", "mae_vit-small"]
program.load()()
"""


MIM = """
from pathlib import Path
import mmvitssl, subprocess, sys
mim = Path(mmvitssl.__file__).parent / ".mim"
assert sorted(path.name for path in (mim / "tools").glob("*.py")) == ["test.py", "train.py"]
assert len(list(mim.glob("configs/*/metafile.yml"))) > 10 and (mim / "model-index.yml").is_file()
# as `mim train mmvitssl NAME` does
done = subprocess.run([sys.executable, mim / "tools/train.py", "--help"], capture_output=True)
assert done.returncode == 0 and b"--cfg-options" in done.stdout, done.stderr
from mmengine.hub import get_config
found = get_config("mmvitssl::mae/mae_vit-small_64xb64-cosine-800e_in1k.py")
assert found.model.type == "Pretrainer"
print("done")
"""


@pytest.mark.slow
def test_openmmlabs_programs_find_tools_configs_and_models(python: Path, tmp_path: Path) -> None:
    assert run(python, MIM, tmp_path).endswith("done\n")


LIGHT = """
import sys, mmvitssl
heavy = ("torchvision", "timm", "mmengine.runner", "matplotlib", "scipy", "sklearn", "mmcv")
print([name for name in heavy if name in sys.modules])
"""


def test_importing_the_package_imports_nothing_heavy_but_torch(
    python: Path, tmp_path: Path
) -> None:
    assert run(python, LIGHT, tmp_path) == "[]\n"


@pytest.mark.long
@pytest.mark.parametrize("extra", ["", "[transfer]"])
def test_the_wheel_installs_by_itself(wheel: Path, tmp_path: Path, extra: str) -> None:
    """From the package index, into an empty environment."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", f"{wheel}{extra}"]
    subprocess.run(install, check=True, env={**os.environ, "PYTHONPATH": ""})
    assert run(python, IMPORT_ALL, tmp_path)
    if extra:
        assert run(python, "import mmvitssl, mmdet.models, mmseg.models; print(1)", tmp_path)

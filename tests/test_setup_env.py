"""The set-up's own logic; the set-up itself is what the tests run in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["setup_env"] = module
    spec.loader.exec_module(module)
    return module


setup_env = load()


def test_wheels_are_kept_apart_by_python_torch_and_mmcv(tmp_path: Path) -> None:
    base = ("cp311", "2.11.0", "2.3.6", "x86_64")
    folders = {setup_env.wheel_folder(tmp_path, *base)}
    for i, other in enumerate(("cp312", "2.12.0", "2.3.7", "aarch64")):
        changed = list(base)
        changed[i] = other
        folders.add(setup_env.wheel_folder(tmp_path, *changed))
    assert len(folders) == 5


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("  [26/78] c++ -MMD -MF x.o", "compiling mmcv 26/78, about 10 min left"),
        ("[78/78] c++ -shared", "compiling mmcv 78/78, about 0 s left"),
        ("  [1/2 files] something else", None),
        ("copying mmcv/ops/nms.py", None),
    ],
)
def test_progress_of_the_compilation(line: str, words: str | None) -> None:
    assert setup_env.compile_progress(line, elapsed=300.0) == words


def test_versions_are_pinned() -> None:
    for name, package in (("torch", "torch"), ("mmcv", "onedl-mmcv")):
        assert setup_env.pinned(package, setup_env.read_requirements(name))
    with pytest.raises(setup_env.SetupError, match="must pin numpy"):
        setup_env.pinned("numpy", "numpy>=2\n")
    for path in setup_env.REQUIREMENTS.glob("*.txt"):
        for line in path.read_text().splitlines():
            assert not line.strip() or line.startswith("#") or "==" in line, f"{path.name}: {line}"


def test_fingerprint_changes_with_any_requirement() -> None:
    assert setup_env.fingerprint(["a", "b"]) == setup_env.fingerprint(["a", "b"])
    assert setup_env.fingerprint(["a", "b"]) != setup_env.fingerprint(["ab", ""])


def test_jobs_fit_the_memory() -> None:
    assert setup_env.jobs(16, 8 * setup_env.GIB) == 4
    assert setup_env.jobs(2, 64 * setup_env.GIB) == 2
    assert setup_env.jobs(8, setup_env.GIB) == 1


def test_a_killed_build_leaves_no_wheel(tmp_path: Path) -> None:
    target = tmp_path / "wheels" / "key"

    def killed(folder: Path) -> None:
        (folder / "half.whl").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setup_env.publish(killed, target)
    assert not list(target.iterdir()) and not list(target.parent.glob("tmp*"))
    published = setup_env.publish(lambda folder: (folder / "a.whl").write_bytes(b"whole"), target)
    assert published == target / "a.whl" and published.read_bytes() == b"whole"
    with pytest.raises(setup_env.SetupError, match="left 0 wheels"):
        setup_env.publish(lambda folder: None, target)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "free some disk space"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "MAX_JOBS=1"),
        ("fatal error: Python.h: No such file or directory", "python3-dev"),
        ("something new", "read the log"),
    ],
)
def test_failures_come_with_advice(log: str, words: str) -> None:
    assert words in setup_env.advice(log)


def test_a_failed_step_names_itself_its_log_and_its_end(tmp_path: Path) -> None:
    steps = setup_env.Steps(1, tmp_path)
    steps.announce("libraries")
    with pytest.raises(setup_env.SetupError) as caught:
        steps.run([sys.executable, "-c", "print('the cause'); raise SystemExit(1)"])
    text = str(caught.value)
    assert "'libraries' failed" in text and "the cause" in text and "01.log" in text


def test_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(setup_env.SetupError, match="apt install build-essential"):
        setup_env.check_machine(tmp_path / ".venv", compiles=True)


def test_make_explains_itself() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "make demo" in shown and "make test" in shown

"""The set-up's own logic; the set-up itself is what the tests run in."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))  # programs, not a package
setup_env = importlib.import_module("setup_env")
setup_mmcv = importlib.import_module("setup_mmcv")
setup_steps = importlib.import_module("setup_steps")


def test_wheels_are_kept_apart_by_python_torch_and_mmcv(tmp_path: Path) -> None:
    base = ("cp311", "2.11.0", "2.3.6", "x86_64")
    folders = {setup_mmcv.wheel_folder(tmp_path, *base)}
    for i, other in enumerate(("cp312", "2.12.0", "2.3.7", "aarch64")):
        changed = list(base)
        changed[i] = other
        folders.add(setup_mmcv.wheel_folder(tmp_path, *changed))
    assert len(folders) == 5
    assert tmp_path / "wheels" / "cp311-torch2.11.0-mmcv2.3.6-x86_64" in folders


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("  [26/78] c++ -MMD -MF x.o", "compiling mmcv ops 26/78, about 10 min left"),
        ("[78/78] c++ -shared", "compiling mmcv ops 78/78, about 0 s left"),
        ("  building 'mmcv._ext' extension", "compiling mmcv ops, the first of them"),
        ("  [1/2 files] something else", None),
        ("copying mmcv/ops/nms.py", None),
    ],
)
def test_progress_of_the_compilation(line: str, words: str | None) -> None:
    assert setup_steps.compile_progress(line, elapsed=300.0) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Downloading torch (506.1MiB)", "downloading torch (506.1MiB)"),
        (" Downloaded nvidia-cublas", "downloaded nvidia-cublas"),
        ("   Building onedl-mmdetection==3.5.1", "building onedl-mmdetection==3.5.1"),
        ("Prepared 114 packages in 1m 12s", "prepared 114 packages in 1m 12s"),
        (" + numpy==2.2.6", None),
    ],
)
def test_progress_of_uv(line: str, words: str | None) -> None:
    assert setup_steps.uv_progress(line, elapsed=1.0) == words


def test_versions_are_pinned() -> None:
    for name, package in (("lock", "torch"), ("lock", "onedl-mmcv"), ("uv", "uv")):
        assert setup_env.pinned(package, setup_env.read_requirements(name))
    assert setup_env.pinned("torch", "torch==2.11.0 ; sys_platform == 'linux'\n") == "2.11.0"
    with pytest.raises(setup_env.SetupError, match="must pin numpy"):
        setup_env.pinned("numpy", "numpy>=2\n")
    for path in setup_env.REQUIREMENTS.glob("*.txt"):
        for line in path.read_text().splitlines():
            assert not line.strip() or line.startswith("#") or "==" in line, f"{path.name}: {line}"


def test_the_lock_file_serves_what_is_declared() -> None:
    """And names no index, which would be one machine's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    for extra in ("transfer", "lmdb", "export", "demo", "dev"):
        declared += project["optional-dependencies"][extra]
    text = setup_env.read_requirements("lock")
    pins = [Requirement(line) for line in text.splitlines() if not line.startswith("#")]
    for requirement in map(Requirement, declared):
        found = [pin for pin in pins if canonicalize_name(pin.name) == requirement.name]
        assert found, f"{requirement.name}: run make lock"
        for pin in found:
            (version,) = pin.specifier
            assert requirement.specifier.contains(version.version), f"{requirement}: run make lock"
    assert "://" not in text


def test_fingerprint_changes_with_any_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup_env.fingerprint(["a", "b"]) == setup_env.fingerprint(["a", "b"])
    assert setup_env.fingerprint(["a", "b"]) != setup_env.fingerprint(["ab", ""])
    environment = setup_env.Environment(ROOT / ".venv")
    before = environment.wanted()
    read = setup_env.read_requirements
    for changed in setup_env.INSTALLED:

        def edited(name: str, changed: str = changed) -> str:
            return read(name) + "#" * (name == changed)

        monkeypatch.setattr(setup_env, "read_requirements", edited)
        assert environment.wanted() != before, changed
    assert {path.stem for path in setup_env.REQUIREMENTS.glob("*.txt")} == {
        *setup_env.INSTALLED, "bench"
    }  # fmt: skip


def test_jobs_fit_the_memory() -> None:
    assert setup_mmcv.jobs(16, 8 * setup_env.GIB) == 4
    assert setup_mmcv.jobs(2, 64 * setup_env.GIB) == 2
    assert setup_mmcv.jobs(8, setup_env.GIB) == 1


def program(folder: Path, name: str, prints: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)


def test_cuda_operators_only_with_a_gpu_and_its_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{binaries}:/bin")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("FORCE_CUDA", raising=False)
    program(binaries, "nvcc", "Cuda compilation tools, release 13.0, V13.0.48")
    assert not setup_mmcv.compiles_cuda()
    program(binaries, "nvidia-smi", "a GPU")
    assert setup_mmcv.compiles_cuda()
    program(binaries, "nvcc", "Cuda compilation tools, release 12.4, V12.4.99")
    assert not setup_mmcv.compiles_cuda()
    (binaries / "nvcc").unlink()
    assert not setup_mmcv.compiles_cuda()


def test_a_killed_build_leaves_no_wheel(tmp_path: Path) -> None:
    target = tmp_path / "wheels" / "key"

    def killed(folder: Path) -> None:
        (folder / "half.whl").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setup_mmcv.publish(killed, target)
    assert not list(target.iterdir()) and not list(target.parent.glob("tmp*"))
    published = setup_mmcv.publish(lambda folder: (folder / "a.whl").write_bytes(b"whole"), target)
    assert published == target / "a.whl" and published.read_bytes() == b"whole"
    with pytest.raises(setup_env.SetupError, match="left 0 wheels"):
        setup_mmcv.publish(lambda folder: None, target)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "free some disk space"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "MAX_JOBS=1"),
        ("fatal error: Python.h: No such file or directory", "python3-dev"),
        ("The virtual environment was not created because ensurepip is not available", "python3-v"),
        ("Failed to resolve 'pypi.org' ([Errno -3] Temporary failure in name resolution)\n"
         "ERROR: Could not find a version that satisfies", "check the network"),
        ("ERROR: Could not find a version that satisfies the requirement torch", "lacks a pinned"),
        ("error: Request failed\n  Caused by: dns error: failed to lookup", "check the network"),
        ("  cause: invalid peer certificate: UnknownIssuer", "PIP_CERT"),
        ("x No solution found when resolving dependencies", "lacks a pinned"),
        ("ImportError: /x/mmcv/_ext.so: undefined symbol: _ZN2at", "does not fit this machine"),
        ("building 'mmcv._ext' extension\nsomething new", "read the log"),
    ],
)  # fmt: skip
def test_failures_come_with_advice(log: str, words: str) -> None:
    assert words in setup_steps.advice(log)


def python(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]


def test_a_failed_step_names_itself_its_log_and_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "01.log").write_text("No space left on device, said by an earlier run\n")
    steps = setup_steps.Steps(3, tmp_path)
    steps.announce("libraries")
    steps.run(python("print('No space left on device, and mended')"))
    with pytest.raises(setup_steps.SetupError) as caught:
        steps.run(python("print('the cause'); raise SystemExit(1)"))
    text = str(caught.value)
    assert "'libraries' failed" in text and "| the cause" in text and "01.log" in text
    assert "read the log" in text  # only this command's own output counts
    assert capsys.readouterr().out == "[1/3]  0:00  libraries\n"


def test_a_long_step_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = setup_steps.Steps(1, tmp_path, heartbeat=0.0)
    steps.announce("mmcv")
    build = "import time; print('  [1/4] c++ x', flush=True); time.sleep(1.5); print('built')"
    output = steps.run(python(build), progress=setup_steps.compile_progress)
    assert "compiling mmcv ops 1/4, about" in capsys.readouterr().out
    assert output.splitlines()[-1] == "built"


def test_an_interrupted_step_ends_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler in the background would go on for minutes and disturb the next try."""
    steps = setup_steps.Steps(1, tmp_path)
    steps.announce("mmcv")
    note = tmp_path / "pid"

    def interrupt(*arguments: object) -> None:
        while not (note.exists() and note.read_text().endswith("\n")):
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        steps.run(["bash", "-c", f"sleep 100 & echo $! > '{note}'; wait"])
    state = Path("/proc") / note.read_text().strip() / "stat"
    for _ in range(100):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the grandchild still runs")


def test_one_set_up_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "cache" / "lock"
    order = []

    def second() -> None:
        with setup_env.only_one(lock):
            order.append("second")

    with setup_env.only_one(lock):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "waiting for another set-up" in capsys.readouterr().out


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment whose commands are only noted, in ``commands``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = setup_env.Environment(tmp_path / "venv", "compiled")
    made.commands = []

    def run(steps: object, command: Sequence[str | Path], *others: object, **more: object) -> str:
        words = " ".join(map(str, command))
        made.commands.append(words)
        if "-m venv" in words:
            made.python.parent.mkdir(parents=True)
            made.python.symlink_to(sys.executable)
            (made.venv / "pyvenv.cfg").touch()
        if "pip wheel" in words:
            folder = Path(words.split(" -w ")[1].split()[0])
            (folder / "onedl_mmcv-2.3.6-any.whl").touch()
        return "done"

    monkeypatch.setattr(setup_steps.Steps, "run", run)
    monkeypatch.setattr(setup_env, "check_space", lambda venv, needed: None)
    return made


def test_set_up_runs_once_and_again_after_a_change(
    environment: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    environment.set_up()
    assert any("pip wheel" in command for command in environment.commands)
    assert environment.mmcv.wheel().parent == environment.mmcv.wheels
    environment.commands.clear()
    environment.set_up()
    assert environment.commands == []
    another = tmp_path / "another checkout"
    another.mkdir()
    shutil.copy(ROOT / "pyproject.toml", another)
    monkeypatch.setattr(setup_env, "ROOT", another)
    environment.set_up()
    _, editable, check = environment.commands
    assert editable.endswith(f"-e {another}") and "nms" in check
    environment.commands.clear()
    monkeypatch.setattr(environment, "wanted", lambda: ["other requirements", "", "compiled"])
    environment.set_up()
    assert any("lock.txt" in command for command in environment.commands)
    assert not any("pip wheel" in command for command in environment.commands), "compiled twice"


def test_operators_of_mmcv_stay_what_they_were_chosen_to_be(environment: Any) -> None:
    environment.set_up()
    environment.commands.clear()
    again = setup_env.Environment(environment.venv)
    assert again.compiled
    again.set_up()
    assert environment.commands == []
    changed = setup_env.Environment(environment.venv, "torchvision")
    changed.set_up()
    installs = [command for command in environment.commands if "uv pip install" in command]
    assert any("--reinstall-package onedl-mmcv" in command for command in installs)
    assert not any(".whl" in command for command in installs)
    assert not setup_env.Environment(environment.venv).compiled


def test_a_new_environment_needs_no_compiler(
    environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_mmcv.shutil, "which", lambda name, path=None: None)
    environment.operators = "torchvision"
    environment.set_up()
    assert not any("wheel" in command for command in environment.commands)
    environment.stamp.unlink()
    environment.python.unlink()
    environment.operators = "compiled"
    for wheel in environment.mmcv.wheels.glob("*.whl"):
        wheel.unlink()
    with pytest.raises(setup_env.SetupError, match="apt install build-essential"):
        environment.set_up()


def test_uv_reaches_what_pip_reaches() -> None:
    config = (
        ":env:.index-url='https://mirror.example/simple'\n"
        "global.index-url='https://other.example/simple'\n"
        "global.find-links='/one /two'\n"
        "install.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'\n"
        "global.cert='/etc/ca.crt'\nglobal.disable-pip-version-check='1'\n"
    )
    assert setup_env.uv_settings(config, {"SSL_CERT_FILE": "/mine"}) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_FIND_LINKS": "/one,/two",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert setup_env.uv_settings("", {}) == {}


def test_a_failed_set_up_is_not_taken_for_finished(
    environment: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment.set_up()
    monkeypatch.setattr(environment, "wanted", lambda: ["other requirements", "", "compiled"])

    def fail(steps: object) -> None:
        raise setup_env.SetupError("no network")

    monkeypatch.setattr(environment, "fill", fail)
    with pytest.raises(setup_env.SetupError):
        environment.set_up()
    assert environment.recorded() == []


def test_only_virtual_environments_are_cleared(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").touch()
    with pytest.raises(setup_env.SetupError, match="not a virtual environment"):
        setup_env.Environment(mine).clear()
    assert (mine / "thesis.tex").exists()
    broken = tmp_path / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "pyvenv.cfg").touch()
    (broken / "bin" / "python").symlink_to("/usr/bin/python-that-was-removed")
    environment = setup_env.Environment(broken)
    assert not environment.usable()
    environment.clear()
    assert not broken.exists()


@pytest.mark.parametrize("version", [(3, 9), (3, 14)])
def test_python_without_wheels_is_refused(version: tuple[int, int]) -> None:
    with pytest.raises(setup_env.SetupError, match=r"3\.10 to 3\.13.*PYTHON=python3\.11"):
        setup_env.check_python(version)
    setup_env.check_python(sys.version_info[:2])


def test_missing_compiler_and_full_disk_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(setup_env.SetupError, match="apt install build-essential"):
        setup_mmcv.check_compiler()
    with pytest.raises(setup_env.SetupError, match="GB are needed"):
        setup_env.check_space(tmp_path / "deep" / ".venv", 10**18)


def test_make_explains_itself_and_names_a_python_that_is_too_old(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, env=env
    ).stdout
    assert "make demo" in shown and "make test" in shown
    program(tmp_path / "bin", "python3", "SyntaxError")
    (tmp_path / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n")
    refused = subprocess.run(
        ["make", "demo", f"PYTHON={tmp_path}/bin/python3"],
        cwd=ROOT, capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert refused.returncode and "make demo PYTHON=python3.11" in refused.stdout

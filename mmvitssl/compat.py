"""The one place that adjusts third-party behaviour; each entry says what goes wrong without it.

Libraries that take seconds to import are adjusted when they are first imported, not before.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.logging import print_log

from mmvitssl.config_tree import parts


def map_config_scopes() -> None:
    """Let ``_base_ = 'mmseg::...'`` and ``'mmvitssl::...'`` find their packages.

    MMEngine's table maps the scope ``mmseg`` to a distribution ``mmsegmentation``. The maintained
    fork is distributed under another name, so inheritance would fail; the import name finds both.
    The scope of this package is not in the table at all.
    """
    try:
        distribution("mmsegmentation")
    except PackageNotFoundError:
        config_utils.MODULE2PACKAGE["mmseg"] = "mmseg"
    config_utils.MODULE2PACKAGE["mmvitssl"] = "mmvitssl"


# MMEngine hands what these say to a function that it looks up itself, `_scope_` included
FUNCTIONS_OF_LOADERS = ("collate_fn", "worker_init_fn")


def scope_inherited_configs() -> None:
    """Let a config that inherits ``'mmvitssl::...'`` find the classes that the path would find.

    MMEngine adds ``_scope_='mmvitssl'`` to what a config inherits by package name. That is wrong
    for detectors and segmentors, whose names are mmdet's and mmseg's: here it adds the
    ``default_scope`` that the inherited config states, and nothing for a part of a config, which
    states none. Nor does ``collate_fn`` get it, which MMEngine would call with it as an argument.
    """
    if hasattr(Config, "_unscoped_conversion"):
        return
    convert = Config._unscoped_conversion = Config._dict_to_config_dict

    def scoped(cfg: Any, scope: str | None = None, **nested: Any) -> Any:
        # MMEngine's recursion passes has_scope, its call for a whole file does not
        if not nested and scope == "mmvitssl":
            scope = cfg.get("default_scope")
        converted = convert(cfg, scope, **nested)
        if not nested:
            for name, part in parts(converted):
                if name.rpartition(".")[2] in FUNCTIONS_OF_LOADERS:
                    part.pop("_scope_", None)
        return converted

    Config._dict_to_config_dict = staticmethod(scoped)


_FILLS_IN: ContextVar[bool] = ContextVar("_FILLS_IN", default=True)


@contextmanager
def as_written() -> Iterator[None]:
    """Read configs without filling in what follows: for a reader that merges options first."""
    token = _FILLS_IN.set(False)
    try:
        yield
    finally:
        _FILLS_IN.reset(token)


def _is_ours(config: Config) -> bool:
    imports = (config.get("custom_imports") or {}).get("imports") or ()
    names = [imports] if isinstance(imports, str) else imports
    return any(str(name).partition(".")[0] == "mmvitssl" for name in names)


def fill_in_configs() -> None:
    """Let ``Config.fromfile`` fill in channels and ends of schedules of detectors and segmentors.

    Our recipes say each size once, and MMDetection's and MMSegmentation's own programs would build
    necks and heads without it. These recipes import this package (``custom_imports``) while
    MMEngine reads them, before the ``Config`` is made. Of pretrainings, the training loop fills it
    in (:mod:`mmvitssl.engine.loops`).
    """
    if hasattr(Config, "_plain_init"):
        return
    plain = Config._plain_init = Config.__init__

    @wraps(plain)
    def init(self: Config, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        if kwargs.get("filename") and _FILLS_IN.get() and _is_ours(self):
            # Imported late: the engine imports registries, which import this module.
            from mmvitssl.engine.config_files import resolve

            for note in resolve(self):
                print_log(note, logger="current")

    Config.__init__ = init


def _without_program(content: Any) -> Any:
    """A checkpoint without the text that MMEngine would run as a config when it resumes."""
    meta = content.get("meta") if isinstance(content, dict) else None
    if isinstance(meta, dict):
        meta.pop("config", None)
    return content


def _load_safely(
    file: Any, map_location: Any = None, weights_only: bool | None = True
) -> dict[str, Any]:
    """The weights-only reader in place of MMEngine's; a stream is copied to a file first."""
    # Imported late: the checkpoint package imports registries, which import this module.
    from mmvitssl.checkpoint.safe import load_file

    if isinstance(file, str | Path):
        return _without_program(load_file(file, map_location=map_location))
    with tempfile.NamedTemporaryFile(suffix=".pth") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        return _without_program(load_file(copy.name, map_location=map_location))


def _load_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    return _load_safely(filename, map_location)


def _load_address(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> dict[str, Any]:
    """As :func:`torch.hub.load_state_dict_from_url`, which unpickles what it downloads."""
    folder = Path(model_dir or Path(torch.hub.get_dir()) / "checkpoints")
    file = folder / (file_name or Path(urlparse(url).path).name)
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        found = torch.hub.HASH_REGEX.search(file.name) if check_hash else None
        torch.hub.download_url_to_file(url, str(file), found and found[1], progress=progress)
    return _load_safely(file, map_location)


def refuse_unsafe_checkpoints(checkpoint: ModuleType) -> None:
    """Make MMEngine's loading of checkpoints (resume included) use the weights-only loader.

    MMEngine falls back to full unpickling, which runs code from the file, with only a warning. It
    also runs the text of a config inside a checkpoint that it resumes from.

    Args:
        checkpoint: the module ``mmengine.runner.checkpoint``.
    """
    checkpoint.CheckpointLoader.register_scheme(prefixes="", loader=_load_local, force=True)
    names = {"_safe_torch_load": _load_safely, "load_url": _load_address}
    for name, function in names.items():
        if not hasattr(checkpoint, name):
            raise ImportError(
                f"This version of MMEngine has no mmengine.runner.checkpoint.{name}, which reads "
                f"checkpoints and is replaced by a reader that runs nothing: install the version "
                f"of requirements/lock.txt."
            )
        setattr(checkpoint, name, function)


def refuse_pickles(handlers: ModuleType) -> None:
    """Let ``mmengine.load`` refuse pickles, such as an ``ann_file`` that ends in ``.pkl``.

    Args:
        handlers: the module ``mmengine.fileio.handlers.pickle_handler``.
    """

    def refuse(self: Any, file: Any, **kwargs: Any) -> Any:
        name = file if isinstance(file, str | Path) else getattr(file, "name", "The file")
        raise ValueError(
            f"{name} is a pickle, and reading it would run code from it; it was refused. Write its "
            f"content as JSON."
        )

    handlers.PickleHandler.load_from_fileobj = refuse
    handlers.PickleHandler.load_from_path = refuse


def _save_durably(checkpoint: ModuleType) -> Callable[..., None]:
    by_backend = checkpoint.save_checkpoint

    @wraps(by_backend)
    def save_checkpoint(content: dict[str, Any], filename: Any, *args: Any, **kwargs: Any) -> None:
        from mmvitssl.checkpoint import durable

        if "://" in str(filename) or any(args) or any(kwargs.values()):
            durable.add_sums(content)
            by_backend(content, filename, *args, **kwargs)
        else:
            durable.save(content, filename)

    return save_checkpoint


def _newest_good(path: str) -> str | None:
    from mmvitssl.checkpoint.durable import newest_good

    return newest_good(path)


def keep_checkpoints_whole(checkpoint: ModuleType) -> None:
    """Let MMEngine write checkpoints by :mod:`mmvitssl.checkpoint.durable`, and find good ones.

    MMEngine overwrites in place, so that a crash or a full disk leaves half a file, and takes up
    what ``last_checkpoint`` names, damaged or not.

    Args:
        checkpoint: the module ``mmengine.runner.checkpoint``.
    """
    if getattr(checkpoint.save_checkpoint, "durable", False):
        return
    save = _save_durably(checkpoint)
    save.durable = True  # type: ignore[attr-defined]
    for name in ("", ".runner", "._flexible_runner", ".checkpoint"):
        module = sys.modules.get(f"mmengine.runner{name}")
        for function, new in (("save_checkpoint", save), ("find_latest_checkpoint", _newest_good)):
            if hasattr(module, function):
                setattr(module, function, new)


def adjust_checkpoints(checkpoint: ModuleType) -> None:
    """All that ``mmengine.runner.checkpoint`` needs."""
    refuse_unsafe_checkpoints(checkpoint)
    keep_checkpoints_whole(checkpoint)


AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "mmengine.fileio.handlers.pickle_handler": refuse_pickles,
    "mmengine.runner.checkpoint": adjust_checkpoints,
}


class _AdjustingLoader(Loader):
    """Runs a module with its own loader, then adjusts it."""

    def __init__(self, loader: Loader, adjust: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.adjust = adjust

    def __getattr__(self, name: str) -> Any:  # its source, path and so on
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.adjust(module)


class _AdjustingFinder(MetaPathFinder):
    """Finds the modules of :data:`AFTER_IMPORT` as Python does, with a loader that adjusts them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        adjust = AFTER_IMPORT.get(fullname)
        if adjust is None:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _AdjustingLoader(spec.loader, adjust)
        return spec


class _OperatorFinder(MetaPathFinder):
    """Loads :mod:`mmvitssl.mmcv_ops` as ``mmcv._ext``; asked last, if mmcv was not compiled."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "mmcv._ext":
            return None
        file = Path(__file__).with_name("mmcv_ops.py")
        return importlib.util.spec_from_file_location(fullname, file)


def adjust_imports() -> None:
    """Adjust the modules of :data:`AFTER_IMPORT`, and let an mmcv without operators import."""
    for name, adjust in AFTER_IMPORT.items():
        if name in sys.modules:
            adjust(sys.modules[name])
    sys.meta_path.insert(0, _AdjustingFinder())
    sys.meta_path.append(_OperatorFinder())


def _full(value: Any) -> Any:
    """Tensors of 16 bits, also inside of sequences, as float32; all else as it is."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if type(value) in (list, tuple):
        return type(value)(_full(item) for item in value)
    return value


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with tensors of 16 bits given to it as float32."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_full, args), **{key: _full(value) for key, value in kwargs.items()})

    wrapper.__dict__["in_float32"] = True
    return wrapper


def keep_boxes_in_float32() -> None:
    """Let mmdet compute boxes in float32 under mixed precision.

    mmdet casts RoIs to the type of the maps: in bfloat16 a box of 1,000 pixels moves by up to 4,
    in float16 by half of one. It also scores proposals in that type, in which many scores are
    equal, and mmcv's NMS and RoIAlign refuse bfloat16 on CPUs. RoI extractors, box coders, the
    proposals' scores and NMS get float32; convolutions and linear layers keep autocast's type.

    Needs mmdet; safe to call more than once.
    """
    from mmcv.ops.nms import NMSop, SoftNMSop
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.roi_heads import roi_extractors
    from mmdet.models.task_modules import coders

    methods: list[tuple[type, str]] = [(NMSop, "forward"), (SoftNMSop, "forward")]
    methods += [(RPNHead, "_predict_by_feat_single")]
    methods += [(getattr(coders, name), "decode") for name in coders.__all__]
    methods += [(getattr(roi_extractors, name), "forward") for name in roi_extractors.__all__]
    for owner, name in methods:
        own = vars(owner).get(name)
        function = own.__func__ if isinstance(own, staticmethod) else own
        if function is None or hasattr(function, "in_float32"):
            continue
        wrapped = _in_float32(function)
        setattr(owner, name, staticmethod(wrapped) if isinstance(own, staticmethod) else wrapped)


def keep_compiled_graphs() -> None:
    """Let graphs of compiled modules be gone through more than once.

    torch.compile gives the buffers of a backward pass away by default, and a second pass through
    the same graph (``retain_graph=True``), as gradients of single tasks need, is then refused.
    """
    from torch._functorch import config

    config.donated_buffer = False


@contextmanager
def drawing_in_every_process() -> Iterator[None]:
    """Let MMEngine's visualizers draw in processes other than the first.

    All their methods are ``master_only``, so that pictures of images that another process tested
    would never be drawn.
    """
    from mmengine.dist import utils as dist_utils

    original = dist_utils.is_main_process
    dist_utils.is_main_process = lambda group=None: True
    try:
        yield
    finally:
        dist_utils.is_main_process = original


def prepare_mmengine() -> None:
    """Apply every adjustment; safe to call more than once."""
    map_config_scopes()
    scope_inherited_configs()
    fill_in_configs()
    if not any(isinstance(finder, _AdjustingFinder) for finder in sys.meta_path):
        adjust_imports()

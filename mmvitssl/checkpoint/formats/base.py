"""A format is a table of names that is read in both directions.

Importing accounts for every key: it is renamed, carried along under its own name because our models
have no place for it, or an error. Exporting an imported state returns what was imported, bit for
bit; exporting a state that was trained here makes the carried tensors anew where it can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from mmvitssl.checkpoint.errors import CheckpointError
from mmvitssl.models.backbones.position import sincos_table
from mmvitssl.models.backbones.relative import bias_index, bias_rows, grid_coordinates

State = dict[str, Tensor]
SHOWN = 8


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """``{i}`` stands for a number, ``*`` for the rest of the name."""
    escaped = re.escape(template).replace(r"\{i\}", r"(\d+)").replace(r"\*", r"(.+)")
    return re.compile(escaped)


def _fill(template: str, values: tuple[str, ...]) -> str:
    rest = iter(values)
    return re.sub(r"\{i\}|\*", lambda _: next(rest), template)


@dataclass(frozen=True)
class Rename:
    """One line of the table; both templates have the same placeholders in the same order."""

    theirs: str
    ours: str

    def to_ours(self, key: str) -> str | None:
        """Our name of a key, None if the line does not speak of it."""
        match = _pattern(self.theirs).fullmatch(key)
        return None if match is None else _fill(self.ours, match.groups())

    def to_theirs(self, key: str) -> str | None:
        """Their name of one of our keys."""
        match = _pattern(self.ours).fullmatch(key)
        return None if match is None else _fill(self.theirs, match.groups())


@dataclass(frozen=True)
class Extra:
    """Keys of theirs without a place here.

    Attributes:
        pattern: regular expression of their names.
        reason: why, for the report.
        make: what they are in an export of a state that was trained here: ``(theirs so far, image
            size) -> tensors by name``; None: left out.
    """

    pattern: str
    reason: str
    make: Callable[[State, int], State] | None = None

    @property
    def buffer(self) -> bool:
        """Whether these are buffers of positions, which an encoder alone has too."""
        return self.pattern.endswith(("relative_position_index", "periods"))


@dataclass(frozen=True)
class Imported:
    """What became of a state dict of another code base.

    Attributes:
        state: with our names.
        carried: tensors without a place here, with their names.
        reasons: why, by the same names.
        prefixes: what was cut off the front of keys, as ``(theirs, ours)``.
    """

    state: State
    carried: State
    reasons: dict[str, str]
    prefixes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Format:
    """A layout of checkpoints.

    Attributes:
        name: as on the command line.
        words: what it is, for people.
        wrapper: entry of the file that holds the weights; None: the file is the state dict.
        signature: regular expressions, all of which must match some key.
        absent: regular expressions that must match none.
        renames: the table; the first line that fits counts.
        extras: keys without a place here.
        finetune: from our state to that of the format's fine-tuning, before renaming.
        prefixes: ``(theirs, ours)`` fronts of keys that some files have, such as a distributed
            wrapper's.
        wrapped: those of them that the official programs expect, for what was trained here.
        nested: entries of the file that hold weights each; their names are put before the keys.
        fresh: tensors of ours that the format has not, such as counters.
        left_out: regular expressions of our keys that the format has no place for by design,
            unless an import brought them.
        decode: from their tensors to ours, by our key.
        encode: the inverse.
        before: for tensors that are not one to one: from theirs, and the grid of the model
            that reads them (None: not known), to tensors with names of the table, and the
            reason for each of theirs that an export must have back as it was.
        after: the inverse, of tensors with names of the table.
        task: name that the table gives to the task whose decoder or head it holds, and the task's
            type, by which it is found in models that call it otherwise.
        heads: attention heads of the published models by width; weights do not show them.
        relative_position: the encoder's, where nothing among the weights shows it.
        refuse: why a state dict that looks like this format is of another model; None: it is not.
    """

    name: str
    words: str
    wrapper: str | None
    signature: tuple[str, ...]
    renames: tuple[Rename, ...]
    absent: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()
    finetune: Callable[[State], State] | None = None
    prefixes: tuple[tuple[str, str], ...] = ()
    wrapped: tuple[tuple[str, str], ...] = ()
    nested: tuple[str, ...] = ()
    fresh: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    decode: Callable[[str, Tensor], Tensor] | None = None
    encode: Callable[[str, Tensor], Tensor] | None = None
    before: Callable[[State, tuple[int, int] | None], tuple[State, dict[str, str]]] | None = None
    after: Callable[[State], State] | None = None
    task: tuple[str, str] | None = None
    heads: Mapping[int, int] = field(default_factory=dict)
    refuse: Callable[[Mapping[str, Tensor]], str | None] | None = None
    relative_position: str | None = None

    def recognises(self, state: Mapping[str, Tensor]) -> bool:
        """Whether a state dict is of this format."""

        def has(pattern: str) -> bool:
            return any(re.match(pattern, key) for key in state)

        return all(map(has, self.signature)) and not any(map(has, self.absent))

    def specificity(self, state: Mapping[str, Tensor]) -> tuple[int, int]:
        """How well it fits a state dict that it recognises: keys it knows, then its conditions."""
        conditions = len(self.signature) + len(self.absent)
        try:
            return -len(self._placed(state, None)[1]), conditions
        except (CheckpointError, LookupError, ValueError, RuntimeError):  # of another model
            return -len(state) - 1, conditions

    def _extra(self, key: str) -> Extra | None:
        return next((extra for extra in self.extras if re.fullmatch(extra.pattern, key)), None)

    def import_state(
        self, state: Mapping[str, Tensor], grid: tuple[int, int] | None = None
    ) -> Imported:
        """Give every tensor our name, or carry it along.

        Args:
            state: theirs.
            grid: of the model that it is for, which tells how many rows of a position table
                belong to other tokens; None: those tables are of square grids.

        Raises:
            CheckpointError: keys that the format does not have, a buffer that is not what the
                format says, or a model of another kind.
        """
        why = None if self.refuse is None else self.refuse(state)
        if why is not None:
            raise CheckpointError(why)
        imported, unknown = self._placed(state, grid)
        if unknown:
            more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
            raise CheckpointError(
                f"This is no checkpoint of the format '{self.name}' ({self.words}): it does not "
                f"know {len(unknown)} of its keys: {', '.join(unknown[:SHOWN])}{more}."
            )
        _check_indices(state)
        return imported

    def _placed(
        self, state: Mapping[str, Tensor], grid: tuple[int, int] | None
    ) -> tuple[Imported, list[str]]:
        """What becomes of a state dict, and the keys that the format does not know."""
        ours: State = {}
        carried: State = {}
        reasons: dict[str, str] = {}
        unknown: list[str] = []
        used = tuple(pair for pair in self.prefixes if any(k.startswith(pair[0]) for k in state))
        state = {_swap_front(key, used): tensor for key, tensor in state.items()}
        if self.before is not None:
            original = state
            state, reasons = self.before(dict(original), grid)
            carried = {key: original[key] for key in reasons}
        for key, tensor in state.items():
            names = (rename.to_ours(key) for rename in self.renames)
            name = next((name for name in names if name is not None), None)
            extra = self._extra(key)
            if extra is not None:
                carried[key], reasons[key] = tensor, extra.reason
            elif name is not None:
                ours[name] = tensor if self.decode is None else self.decode(name, tensor)
            else:
                unknown.append(key)
        ours.update({key: tensor.clone() for key, tensor in self.fresh.items()})
        return Imported(ours, carried, reasons, used), unknown

    def export_state(
        self,
        state: Mapping[str, Tensor],
        carried: Mapping[str, Tensor] | None = None,
        image_size: int = 224,
        whole: bool = True,
        prefixes: tuple[tuple[str, str], ...] = (),
    ) -> State:
        """The inverse of :meth:`import_state`.

        Args:
            state: with our names; momentum targets and balancers are left out.
            carried: of the import, which may have carried nothing; None for a state that was
                trained here.
            image_size: pixels, for tables that have to be made.
            whole: whether it is a pretraining model; of an encoder alone only position buffers are
                made.
            prefixes: of the import; what was trained here gets those that official programs expect.

        Raises:
            CheckpointError: tensors that the format has no name for.
        """
        theirs: State = {}
        unknown: list[str] = []
        left_out = self.left_out if carried is None else ()
        prefixes = self.wrapped if carried is None else prefixes
        for key, tensor in state.items():
            if key in self.fresh or any(re.fullmatch(pattern, key) for pattern in left_out):
                continue
            names = (rename.to_theirs(key) for rename in self.renames)
            name = next((name for name in names if name is not None), None)
            if name is not None:
                theirs[name] = tensor if self.encode is None else self.encode(key, tensor)
            elif not key.startswith(("target.", "balancer.")):
                unknown.append(key)
        if unknown:
            more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
            raise CheckpointError(
                f"The format '{self.name}' ({self.words}) has no name for {len(unknown)} tensors: "
                f"{', '.join(unknown[:SHOWN])}{more}."
            )
        if self.after is not None:
            theirs = self.after(theirs)
        if carried is not None:
            theirs.update(carried)
        else:
            for extra in self.extras:
                if extra.make is not None and (whole or extra.buffer):
                    theirs.update(extra.make(theirs, image_size))
        back = tuple((ours, front) for front, ours in prefixes)
        return {_swap_front(key, back): tensor for key, tensor in theirs.items()}


def _swap_front(key: str, fronts: tuple[tuple[str, str], ...]) -> str:
    for old, new in fronts:
        if key.startswith(old):
            return new + key[len(old) :]
    return key


def square_grid(rows: int) -> tuple[int, int] | None:
    """The square grid of a bias table of ``rows`` rows."""
    side = 1
    while bias_rows((side, side)) < rows:
        side += 1
    return (side, side) if bias_rows((side, side)) == rows else None


def index_buffer(table: Tensor) -> Tensor | None:
    """The buffer ``relative_position_index`` that belongs to a bias table."""
    grid = square_grid(table.shape[0])
    return None if grid is None else bias_index(grid_coordinates(grid), grid, prefix=1)[0]


def make_index_buffers(theirs: State, image_size: int) -> State:
    """An index buffer beside every bias table."""
    made = {}
    for key, table in theirs.items():
        if key.endswith("relative_position_bias_table"):
            buffer = index_buffer(table)
            if buffer is not None:
                made[key.replace("_bias_table", "_index")] = buffer
    return made


def _check_indices(state: Mapping[str, Tensor]) -> None:
    for key, buffer in state.items():
        table = state.get(key.replace("_index", "_bias_table"))
        if not key.endswith("relative_position_index") or table is None:
            continue
        expected = index_buffer(table)
        if expected is not None and not torch.equal(buffer, expected):
            raise CheckpointError(
                f"{key} orders relative positions otherwise than BEiT does; the bias table cannot "
                f"be used."
            )


INDEX_BUFFERS = Extra(
    r".*relative_position_index", "follows from the size of the bias table", make_index_buffers
)


def make_positions(order: str, key: str = "pos_embed") -> Callable[[State, int], State]:
    """A fixed position table that a format has and our model does not use."""

    def make(theirs: State, image_size: int) -> State:
        projection = next(v for k, v in theirs.items() if k.endswith("patch_embed.proj.weight"))
        side = image_size // projection.shape[-1]
        return {key: sincos_table((side, side), projection.shape[0], order)}

    return make


ENCODER_PARTS = (
    "cls_token",
    "pos_embed",
    "mask_token",
    "patch_embed.proj.*",
    "norm.*",
    "rel_pos_bias.relative_position_bias_table",
)


# inside a block: of timm's ViT, and of BEiT and CAE, whose keys have no bias
PLAIN_BLOCK = ("norm1.*", "attn.qkv.*", "attn.proj.*", "norm2.*", "mlp.*")
QV_BLOCK = (*PLAIN_BLOCK, "attn.q_bias", "attn.v_bias")


def plain_encoder(
    prefix: str = "", parts: tuple[str, ...] = ENCODER_PARTS, inside: tuple[str, ...] = ("*",)
) -> tuple[Rename, ...]:
    """timm's names of a Vision Transformer behind a prefix; ``inside``: of its blocks."""
    lines = [Rename(prefix + part, "encoder." + part) for part in parts]
    blocks = [f"blocks.{{i}}.{part}" for part in inside]
    return (*lines, *(Rename(prefix + part, "encoder." + part) for part in blocks))


def scaled_blocks(theirs: str, ours: str) -> tuple[Rename, ...]:
    """BEiT's names of the residual scales of blocks."""
    return tuple(Rename(f"{theirs}.{{i}}.gamma_{n}", f"{ours}.{{i}}.ls{n}.gamma") for n in (1, 2))


# in an encoder file of this package beside timm's names; no outside format has them
OWN_TOKENS = r"prefix_tokens\."
CLASSIFIER = (Rename("fc_norm.*", "fc_norm.*"), Rename("head.*", "head.*"))

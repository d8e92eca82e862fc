"""Run our models on a fixture and measure the distance to the recorded outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmvitssl.checkpoint.safe import CheckpointError
from parity.contrastive import compare_dino, compare_moby, compare_mocov3
from parity.fixture import Fixture
from parity.latent import compare_dinov2, compare_ibot, compare_ijepa
from parity.masked import compare_cae, compare_lomar, compare_mae
from parity.trajectory import Trajectory, compare_trajectory

TOLERANCE = 2e-5  # of the largest magnitude of the reference
Outputs = dict[str, Tensor]
COMPARISONS: dict[str, Callable[[Fixture], Outputs]] = {
    "mae": compare_mae,
    "lomar": compare_lomar,
    "cae": compare_cae,
    "mocov3": compare_mocov3,
    "dino": compare_dino,
    "moby": compare_moby,
    "ibot": compare_ibot,
    "dinov2": compare_dinov2,
    "ijepa": compare_ijepa,
}


@dataclass(frozen=True)
class Agreement:
    """Distances of one fixture.

    Attributes:
        method: its name.
        errors: largest absolute difference of each output.
        magnitudes: largest absolute value of each reference.
    """

    method: str
    errors: dict[str, float]
    magnitudes: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether every output agrees within the tolerance (a NaN does not)."""
        return bool(self.errors) and all(
            error <= TOLERANCE * self.magnitudes[name] for name, error in self.errors.items()
        )

    def _largest(self, losses: bool) -> float:
        chosen = [e for name, e in self.errors.items() if name.startswith("loss") == losses]
        return float(torch.tensor(chosen or [0.0]).max())

    def line(self) -> str:
        """One line for people and programs."""
        return (
            f"{self.method} max_abs_err={self._largest(False):.3e} "
            f"loss_err={self._largest(True):.3e} {'OK' if self.ok else 'FAIL'}"
        )


def compare_file(path: str | Path) -> Agreement | Trajectory:
    """Compare our model with one fixture, or our training with a recorded one.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged or of an unknown method.
    """
    fixture = Fixture.load(path)
    if any(name.startswith("final/") for name in fixture.arrays):
        return compare_trajectory(fixture)
    method = fixture.size("method")
    if method not in COMPARISONS:
        raise CheckpointError(
            f"{path} is of method '{method}'; comparisons exist for {sorted(COMPARISONS)}."
        )
    with torch.no_grad():
        outputs = COMPARISONS[method](fixture)
    errors, magnitudes = {}, {}
    for name, output in outputs.items():
        reference = fixture[name]
        if output.shape != reference.shape:
            raise CheckpointError(
                f"{path}: '{name}' has the shape {tuple(reference.shape)}, ours "
                f"{tuple(output.shape)}."
            )
        errors[name] = float((output.double() - reference.double()).abs().max())
        magnitudes[name] = float(reference.abs().max())
    return Agreement(method, errors, magnitudes)

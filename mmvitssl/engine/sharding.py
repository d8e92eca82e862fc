"""Weights, gradients and optimizer states in shards over processes (FSDP)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.optim import BaseOptimWrapper
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from mmvitssl.models.backbones.contract import Backbone
from mmvitssl.models.necks.context import RegressorBlock
from mmvitssl.registry import STRATEGIES


def sharded_units(model: nn.Module) -> set[nn.Module]:
    """The modules that become units: those that backbones name, and blocks of regressors."""
    modules = list(model.modules())
    units = {module for module in modules if isinstance(module, RegressorBlock)}
    return units.union(*(part.units() for part in modules if isinstance(part, Backbone)))


def unit_policy(model: nn.Module) -> partial[bool]:
    """Torch's policy that makes these modules, and no others, units."""
    units = sharded_units(model)
    return partial(lambda_auto_wrap_policy, lambda_fn=lambda module: module in units)


def is_sharded(model: nn.Module) -> bool:
    """Whether a pass of the model, or of a part of it, needs all processes."""
    return any(isinstance(module, FSDP) for module in model.modules())


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's FSDP with one unit per block or stage of the backbone.

    What MMEngine lacks for a pretraining is added: it trains on CPUs (gloo) too, groups parameters
    by their true shapes, saves the checkpoints of an unsharded training, and can be resumed. For
    ``runner_type='FlexibleRunner'``.

    Args:
        model_wrapper: arguments of :class:`mmengine.model.MMFullyShardedDataParallel`.
        state_dict_cfg: see :class:`mmengine._strategy.FSDPStrategy`; 'full' (here the default):
            the first process gathers and saves whole states.
        kwargs: see :class:`mmengine._strategy.FSDPStrategy`.
    """

    model_wrapper: Any

    def __init__(
        self,
        *,
        model_wrapper: dict[str, Any] | None = None,
        state_dict_cfg: str | dict[str, Any] = "full",
        **kwargs: Any,
    ) -> None:
        wrapper: dict[str, Any] = {}
        if not torch.cuda.is_available():
            wrapper["device_id"] = torch.device("cpu")
        wrapper.update(model_wrapper or {})
        states = _whole_states() if state_dict_cfg == "full" else state_dict_cfg
        super().__init__(model_wrapper=wrapper, state_dict_cfg=states, **kwargs)

    def _wrap_model(self, model: nn.Module) -> Any:
        """Wrap it, with the units of this model unless the config has a policy."""
        own: dict[str, Any] = dict(self.model_wrapper or {})
        self.model_wrapper = {"auto_wrap_policy": unit_policy(model), **own}
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """Build it while the weights are whole.

        A shard is a vector, which constructors would take for a bias and not decay.
        """
        assert model is not None
        with FSDP.summon_full_params(model, writeback=False):
            return super().build_optim_wrapper(optim_wrapper, model)

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a whole state; MMEngine passes the arguments in the order of torch 2.0."""
        optimizer = self.optim_wrapper.optimizer
        self.optim_wrapper.load_state_dict(
            FSDP.optim_state_dict_to_load(
                model=self.model, optim=optimizer, optim_state_dict=state_dict
            )
        )


def _whole_states() -> dict[str, Any]:
    """MMEngine's 'full', but without moving to the CPU what is there: torch 2.11 crashes on it."""
    where = dict(rank0_only=True, offload_to_cpu=torch.cuda.is_available())
    return dict(
        state_dict_type="FULL_STATE_DICT",
        state_dict_config=dict(type="FullStateDictConfig", **where),
        optim_state_dict_config=dict(type="FullOptimStateDictConfig", **where),
    )

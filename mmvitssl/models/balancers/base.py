"""What balancers return."""

from typing import NamedTuple

from torch import Tensor


class Balanced(NamedTuple):
    """One task's share of the total loss.

    Attributes:
        term: scalar that is summed into the total.
        weight: scalar factor on the raw loss, detached, for the log.
    """

    term: Tensor
    weight: Tensor

"""Counting the operations of a training step from the shapes of its products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward, get_gradient_edge
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Product:
    """One product of two factors, a sum over products of numbers.

    Attributes:
        flops: operations, a multiplication and an addition being two. The gradient of each factor
            costs as many again.
        left: tensors that the left factor depends on.
        right: those of the right factor.
    """

    flops: int
    left: tuple[Tensor, ...]
    right: tuple[Tensor, ...]


# Arguments are called as torch calls them, since callers may name them.
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> list[Product]:
    return [Product(2 * input.numel() * (weight.numel() // weight.shape[-1]), (input,), (weight,))]


def _matmul(input: Tensor, other: Tensor) -> list[Product]:
    """Any pair of vectors, matrices or batches of them; batch axes broadcast."""
    rows = input.shape[-2] if input.dim() > 1 else 1
    columns = other.shape[-1] if other.dim() > 1 else 1
    batch = math.prod(torch.broadcast_shapes(input.shape[:-2], other.shape[:-2]))
    return [Product(2 * batch * rows * input.shape[-1] * columns, (input,), (other,))]


def _mm(input: Tensor, mat2: Tensor) -> list[Product]:
    return _matmul(input, mat2)


def _addmm(input: Tensor, mat1: Tensor, mat2: Tensor, **_: Any) -> list[Product]:
    return _matmul(mat1, mat2)


def _baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, **_: Any) -> list[Product]:
    return _matmul(batch1, batch2)


def _conv(input: Tensor, weight: Tensor, *_: Any, output: Tensor, **__: Any) -> list[Product]:
    """Each output is a sum over one kernel: (O, I / groups, ...) weights."""
    return [Product(2 * output.numel() * weight[0].numel(), (input,), (weight,))]


def _conv_transpose(input: Tensor, weight: Tensor, *_: Any, **__: Any) -> list[Product]:
    """Each input is spread by one kernel: (I, O / groups, ...) weights."""
    return [Product(2 * input.numel() * weight[0].numel(), (input,), (weight,))]


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> list[Product]:
    """Scores, then their sums of values; what kernels recompute in the backward is not counted."""
    rows = math.prod(query.shape[:-1])
    behind = (query, key) if attn_mask is None else (query, key, attn_mask)
    return [
        Product(2 * rows * key.shape[-2] * query.shape[-1], (query,), (key,)),
        Product(2 * rows * key.shape[-2] * value.shape[-1], behind, (value,)),
    ]


def _einsum(equation: str, *operands: Any) -> list[Product]:
    """Pair by pair from the left, as torch contracts without an optimised path."""
    tensors = operands[0] if isinstance(operands[0], (list, tuple)) else operands
    inputs, _, out = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "." in equation or "->" not in equation:
        raise NotImplementedError(f"No count of operations for einsum '{equation}': name all axes.")
    sizes = {axis: size for term, tensor in zip(terms, tensors, strict=True)
             for axis, size in zip(term, tensor.shape, strict=True)}  # fmt: skip
    products: list[Product] = []
    left = terms[0]
    behind: tuple[Tensor, ...] = (tensors[0],)
    for number in range(1, len(terms)):
        union = set(left) | set(terms[number])
        flops = 2 * math.prod(sizes[axis] for axis in union)
        products.append(Product(flops, behind, (tensors[number],)))
        left = "".join(union & set("".join(terms[number + 1 :]) + out))
        behind = (*behind, tensors[number])
    return products


def _distances(x1: Tensor, x2: Tensor, *_: Any, **__: Any) -> list[Product]:
    """Squared distances are products and squares."""
    return _matmul(x1, x2.mT)


FORMULAS: dict[str, Callable[..., list[Product]]] = {
    "linear": _linear,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "scaled_dot_product_attention": _attention,
    "einsum": _einsum,
    "cdist": _distances,
    **dict.fromkeys(("matmul", "__matmul__"), _matmul),
    **dict.fromkeys(("mm", "bmm"), _mm),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
}
NEEDS_OUTPUT = ("conv1d", "conv2d", "conv3d")
# products without a formula: a step with one of these cannot be counted
UNKNOWN = ("__rmatmul__", "addbmm", "addmm_", "baddbmm_", "bilinear", "chain_matmul", "multi_dot",
           "convolution", "multi_head_attention_forward", "tensordot")  # fmt: skip


def _needed(edges: Iterable[Any], inputs: Sequence[Tensor] | None) -> bool:
    """Whether the backward pass that runs now goes on to one of these gradient edges.

    Args:
        edges: of tensors.
        inputs: what ``torch.autograd.grad`` asks for, in which torch does not tell of leaves; None:
            the pass is of ``Tensor.backward``.
    """
    for edge in edges:
        leaf = getattr(edge.node, "variable", None)
        if inputs is not None and leaf is not None:
            if any(leaf is tensor for tensor in inputs):
                return True
        elif torch._C._will_engine_execute_node(edge.node):
            return True
    return False


def _edges(tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    return tuple(get_gradient_edge(tensor) for tensor in tensors if tensor.requires_grad)


class StepFlops(TorchFunctionMode):
    """Count the operations of everything that runs inside: a context manager.

    Counted are the functions that modules call (linear layers, convolutions, attention, matrix
    products), each by a formula on its shapes, when they run; and for the backward pass the
    gradient of each factor, when the gradient of the product arrives, if the pass goes on to that
    factor. So frozen weights, branches without gradient and gradients by part of the graph cost
    what they do. Elementwise work is not counted. Nothing below PyTorch's functions is looked at:
    compiled code has the count of the eager code, if it is made to run eagerly
    (``torch.compiler.set_stance('force_eager')``).

    Attributes:
        forward: operations of forward passes.
        backward: of backward passes.
        recomputed: of what checkpointing runs again inside a backward pass.

    Raises:
        NotImplementedError: a product without a formula was met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forward = self.backward = self.recomputed = 0
        self._inputs: Sequence[Tensor] | None = None

    @property
    def total(self) -> int:
        """Operations that a step needs: forward and backward, without what is recomputed."""
        return self.forward + self.backward

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.backward:
            return self._backward(*args, **kwargs)
        if func is torch.autograd.grad:
            return self._grad(*args, **kwargs)
        output = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in FORMULAS:
            extra = {"output": output} if name in NEEDS_OUTPUT else {}
            kwargs = {key: value for key, value in kwargs.items() if key != "out"}
            self._count(FORMULAS[name](*args, **kwargs, **extra), output)
        elif name in UNKNOWN:
            raise NotImplementedError(f"There is no count of operations for torch's {name}.")
        return output

    def _backward(
        self,
        tensor: Tensor,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """``Tensor.backward`` with this mode on, since checkpointing runs forwards in it.

        The function itself would be handed to this mode, and so run without it: hence its engine.
        """
        root = torch.ones_like(tensor) if gradient is None else gradient
        keep = create_graph if retain_graph is None else retain_graph
        with self:
            _engine_run_backward(
                (tensor,), (root,), keep, create_graph, tuple(inputs or ()),
                allow_unreachable=True, accumulate_grad=True,
            )  # fmt: skip

    def _grad(self, outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """``torch.autograd.grad``, which runs only what leads to its inputs."""
        self._inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        try:
            return torch.autograd.grad(outputs, inputs, *args, **kwargs)
        finally:
            self._inputs = None

    def _count(self, products: list[Product], output: Tensor) -> None:
        flops = sum(product.flops for product in products)
        if torch._C._current_graph_task_id() >= 0:  # inside a backward pass
            self.recomputed += flops
        else:
            self.forward += flops
        if output.requires_grad:
            factors = [
                (product.flops, _edges(side))
                for product in products
                for side in (product.left, product.right)
            ]
            output.register_hook(lambda _: self._count_gradients(factors))

    def _count_gradients(self, factors: list[tuple[int, tuple[Any, ...]]]) -> None:
        self.backward += sum(flops for flops, edges in factors if _needed(edges, self._inputs))

"""What vLLM's worker processes import on a CPU where adapters may be attached to the model.

vLLM marks the tokens of a request without an adapter with index -1. Its kernels for GPUs skip them;
its operations for CPUs take -1 for the last adapter's place, so that a request to the bare model
is answered with that adapter whenever both are computed in one step (vLLM pull requests 48421 and
49656, open as of release 0.32). Here such tokens contribute nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from vllm.lora.ops import torch_ops
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu

OPERATIONS = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")


class CpuWorker:
    """Mixed into vLLM's worker (`worker_extension_cls`); loading it is what matters."""


def skip_bare_tokens(operation: Callable[..., None]) -> Callable[..., None]:
    """The operation, with the input of tokens of index -1 set to 0."""

    @functools.wraps(operation)
    def skipping(
        inputs: torch.Tensor,
        weights: torch.Tensor,
        output: torch.Tensor,
        indices: torch.Tensor,
        *further: Any,
        **named: Any,
    ) -> None:
        kept = torch.where((indices >= 0).unsqueeze(-1), inputs, inputs.new_zeros(()))
        operation(kept, weights, output, indices, *further, **named)

    return skipping


for _name in OPERATIONS:
    _skipping = skip_bare_tokens(getattr(lora_ops, _name))
    for _module in (lora_ops, torch_ops, punica_cpu):
        setattr(_module, _name, _skipping)

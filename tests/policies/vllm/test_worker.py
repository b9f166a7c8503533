"""On a CPU, tokens without an adapter get nothing of any adapter."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None,
    reason="vLLM is not installed; `make test-vllm` tests it in an environment of its own",
)


def test_a_bare_token_beside_adapters_stays_as_it_is() -> None:
    import torch

    from warmline.policies.vllm import worker as vllm_worker
    from warmline.policies.vllm.worker import punica_cpu

    assert vllm_worker.OPERATIONS
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, 5, generator=random)
    down, up = torch.randn(2, 1, 4, 5, generator=random), torch.randn(2, 1, 6, 4, generator=random)
    which = torch.tensor([-1, 0, 1])  # the bare model, the first and the last adapter

    inner = torch.full((3, 4), torch.nan)
    punica_cpu.bgmv_shrink(tokens, down, inner, which, 0.5)
    outer = torch.ones(3, 6)
    punica_cpu.bgmv_expand(torch.ones(3, 4), up, outer, which, True)
    piece = torch.ones(3, 8)
    punica_cpu.sgmv_expand_slice(
        torch.ones(3, 4), up, piece, torch.arange(3), torch.ones(3, dtype=torch.long),
        which, 3, 1, 3, 1, 6, True,
    )  # fmt: skip

    for row, adapter in ((1, 0), (2, 1)):
        torch.testing.assert_close(inner[row], 0.5 * down[adapter, 0] @ tokens[row])
        torch.testing.assert_close(outer[row], 1 + up[adapter, 0].sum(-1))
        torch.testing.assert_close(piece[row, 1:7], 1 + up[adapter, 0].sum(-1))
    assert inner[0].tolist() == [0] * 4
    assert outer[0].tolist() == [1] * 6
    assert piece[0].tolist() == [1] * 8

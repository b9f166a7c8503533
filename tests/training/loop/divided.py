"""The command line in a process whose FSDP divides weights on CPUs too.

accelerate leaves FSDP out on CPUs, without a word, and Warmline therefore refuses it there. PyTorch's
own FSDP2 works on CPUs, over gloo, so a test can run the same code of accelerate, transformers, peft
and Warmline as GPUs run: here accelerate makes of its state what it makes of it on GPUs, and Warmline
refuses nothing. Each process that has trained leaves in the file that `DIVIDED` names how many
numbers of the weights it held, how many there are, and the modules that were gathered one by one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...warm import command


def divided_command(*words: str) -> None:
    """The command line `warmline WORDS`, in this process."""
    import accelerate.state
    from accelerate.utils import DistributedType
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor
    from transformers import Trainer

    from warmline.training.loop import distributed

    make_state, train = accelerate.state.AcceleratorState.__init__, Trainer.train

    def with_fsdp(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        first = not accelerate.state.AcceleratorState._shared_state
        make_state(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if first and fsdp_plugin is not None:
            self.distributed_type = DistributedType.FSDP
            accelerate.state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = train(self, *args, **kwargs)
        weights = list(self.model.parameters())
        own = sum(each.to_local().numel() for each in weights if isinstance(each, DTensor))
        units = [
            type(each).__name__ for each in self.model.modules() if isinstance(each, FSDPModule)
        ]
        said = {"own": own, "all": sum(w.numel() for w in weights), "units": units}
        with Path(os.environ["DIVIDED"]).open("a") as file:
            file.write(json.dumps(said) + "\n")
        return result

    accelerate.state.AcceleratorState.__init__ = with_fsdp
    Trainer.train = counted
    distributed._gpus_compute = lambda _: True
    command(*words)

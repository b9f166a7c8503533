"""What the notebooks share: their sizes, a tiny model that trains in seconds, a few conversations.

`WARMLINE_EXAMPLES=quick` makes them small enough to be run in a test of all nine; without it they
take the sizes that their text is about.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, TypeVar

from warmline.environments import Episode, EpisodeLog
from warmline.environments.corpus import seed_episodes

warnings.filterwarnings("ignore", "IProgress not found")  # tqdm, where there are no ipywidgets
T = TypeVar("T")
QUICK = os.environ.get("WARMLINE_EXAMPLES") == "quick"

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHORT_PROMPT = (
    "{% block system %}Help with {{ problem_type }}.{% endblock %}"
    "{% block note %}{% if strategy %}({{ strategy }}){% endif %}{% endblock %}"
)
"""A supporter's prompt for a model of few positions; the shipped one has two hundred words."""


def sized(full: T, quick: T) -> T:
    """The size to use: `quick` in a test, else `full`."""
    return quick if QUICK else full


def shipped(count: int) -> list[Episode]:
    """The first dialogue of `count` scenarios that ship, spread over the problem types."""
    episodes = list(seed_episodes("train"))
    return episodes[:: max(1, len(episodes) // count)][:count]


def write_log(folder: str | Path, episodes: list[Episode]) -> Path:
    """A folder with these episodes alone, as a run leaves it; the same when it is called again."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "episodes.jsonl").unlink(missing_ok=True)
    with EpisodeLog(Path(folder) / "episodes.jsonl") as log:
        for episode in episodes:
            log.append(episode)
    return Path(folder)


def tiny_model(folder: str | Path, texts: list[str]) -> Path:
    """A language model of two layers with random weights, saved as any model is.

    It has no notion of words before it is trained, so what is seen is learned here.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        bos_token="<|endoftext|>",
        pad_token="<pad>",
        model_max_length=1024,
    )
    fast.chat_template = CHATML
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=1024,
            initializer_range=0.2,
            eos_token_id=fast.eos_token_id,
            bos_token_id=fast.bos_token_id,
            pad_token_id=fast.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return Path(folder)


def curve(title: str, x: str, y: str, **lines: tuple[list[float], list[float]]) -> Any:
    """A figure of one or more lines, each given by its points' x and y."""
    import matplotlib as mpl
    from IPython.display import SVG
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        axes.plot(*points, marker="o", markersize=3, label=name.replace("_", " "), color=colour)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(color="#D9D9D9", linewidth=0.6)
    if len(lines) > 1:
        axes.legend(frameon=False)
    drawn = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "warmline"}):
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})
    return SVG(drawn.getvalue())  # type: ignore[no-untyped-call]


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito's, as in the project's own figures."""

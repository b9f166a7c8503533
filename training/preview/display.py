"""Rows as a reader sees them: every token, with those that carry loss in colour."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from ..rows.build import Row, Rows
from ..rows.encode import IGNORED, Encoded

LOSS_STYLE = "bold black on bright_green"
PROMPT_STYLE = "dim"
NEWLINE = "⏎"


def colored(encoded: Encoded, tokenizer: Any, *, brackets: bool = False) -> Text:
    """The text of a row; tokens with loss stand out, and hold a mark for a line break.

    For an encoder-decoder the encoder's side comes first, then what the decoder learns.

    Args:
        brackets: put them between brackets too, for where there is no colour.
    """
    shown = Text()
    if encoded.decoder_input_ids is not None:
        shown.append(tokenizer.decode(encoded.input_ids) + "\n", style=PROMPT_STYLE)
        tokens = [label for label in encoded.labels if label != IGNORED]
        shown.append(_marked(tokenizer.decode(tokens), brackets), style=LOSS_STYLE)
        return shown
    for learned, tokens in stretches(encoded):
        text = tokenizer.decode(tokens)
        if learned:
            shown.append(_marked(text, brackets), style=LOSS_STYLE)
        else:
            shown.append(text, style=PROMPT_STYLE)
    return shown


def stretches(encoded: Encoded) -> list[tuple[bool, list[int]]]:
    """Consecutive tokens that all carry loss, or all do not.

    An end that is learned where the next message follows at once stands before that message.
    """
    found: list[tuple[bool, list[int]]] = []
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        places = [(True, label)] if label != IGNORED else []
        places += [(False, token)] if label != token else []
        for learned, shown in places:
            if not found or found[-1][0] is not learned:
                found.append((learned, []))
            found[-1][1].append(shown)
    return found


def heading(row: Row, encoded: Encoded) -> Text:
    """The row's id, strategy and numbers of tokens."""
    strategy = f", {row.strategy.value}" if row.strategy else ""
    return Text(
        f"{row.id}{strategy}: {encoded.tokens} tokens, {encoded.learned} with loss", style="bold"
    )


def counts(rows: Rows, read: int, episodes: int) -> str:
    """How many rows there are, and how many were left out and why.

    Args:
        read: episodes that gave them.
        episodes: all that there are.
    """
    shown = f"{len(rows.rows)} rows"
    if rows.bad:
        faults = ", ".join(f"{n} {fault.replace('_', ' ')}" for fault, n in rows.faults.items())
        shown += f"; left out: {faults}"
    if read < episodes:
        shown += f"; of the first {read} of {episodes} episodes, the others were not read"
    return shown


def _marked(text: str, brackets: bool) -> str:
    marked = text.replace("\n", f"{NEWLINE}\n")
    return f"⟦{marked}⟧" if brackets else marked

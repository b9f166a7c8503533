"""One colour for each strategy, wherever strategies are drawn: figures, reports, notebooks.

Okabe and Ito's colours, which colour-blind readers can distinguish; yellow and grey among them are
the lightest, so wherever a colour stands alone its name stands beside it.
"""

from __future__ import annotations

from .roles import Strategy

STRATEGY_COLOURS: dict[Strategy, str] = {
    Strategy.QUESTION: "#0072b2",
    Strategy.RESTATEMENT: "#56b4e9",
    Strategy.REFLECTION: "#cc79a7",
    Strategy.SELF_DISCLOSURE: "#e69f00",
    Strategy.AFFIRMATION: "#009e73",
    Strategy.SUGGESTION: "#d55e00",
    Strategy.INFORMATION: "#f0e442",
    Strategy.OTHERS: "#999999",
}


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` in [0, 1] (WCAG 2)."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, from 1 to 21 (WCAG 2); text needs 4.5."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(colour: str) -> str:
    """Black or white, whichever is easier to read on `colour`."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))

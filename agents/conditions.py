"""What a supporter is told of the strategy of its next answer.

One setting with the same meaning wherever a supporter answers, is trained or is scored. Under
`oracle` the prompt names the label of the very reply that is to be predicted, so what is measured
under it is an upper bound and never a result.
"""

from __future__ import annotations

from enum import StrEnum


class StrategyCondition(StrEnum):
    """What a supporter is told of the strategy of its next answer."""

    HIDDEN = "hidden"
    """Nothing."""
    LISTED = "listed"
    """The system prompt lists the eight strategies (Self-Evolution eq. 1 and 3)."""
    SELF = "self"
    """It chooses one of the eight itself and writes it before its answer."""
    ADVISED = "advised"
    """A note names the counselor's choice (FPEMF eq. 5, SweetieChat)."""
    ORACLE = "oracle"
    """A note names the label of the reference reply: an upper bound."""

    @property
    def upper_bound(self) -> bool:
        """Whether the prompt tells something of the reply that is to be predicted."""
        return self is StrategyCondition.ORACLE

    def template(self, *, definitions: bool = False, short: bool = False) -> str:
        """The supporter's shipped prompt template.

        Args:
            definitions: the system prompt defines the strategies.
            short: for models of few positions.
        """
        if short:
            forms = {StrategyCondition.LISTED: "_listed", StrategyCondition.SELF: "_first"}
            return f"supporter_short{forms.get(self, '')}.jinja"
        stem = {
            StrategyCondition.LISTED: "supporter_listed",
            StrategyCondition.SELF: "supporter_first",
        }
        if definitions:
            stem[StrategyCondition.LISTED] = "supporter"
            return f"{stem.get(self, 'supporter')}_defined.jinja"
        return f"{stem.get(self, 'supporter')}.jinja"


EARLIER_NAMES = {"shown": StrategyCondition.ORACLE, "first": StrategyCondition.SELF}
"""Names of conditions in settings and records of earlier versions."""


def read_condition(value: object) -> object:
    """A condition by its name, or by the one it had in an earlier version."""
    return EARLIER_NAMES.get(value, value) if isinstance(value, str) else value

"""Agreement measures against numbers derived by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.environments.corpus.review.agreement import agreement, percent_agreement


def items(*rows: str) -> list[dict[str, str]]:
    """`aar` is one item judged a, a, r by the reviewers 0, 1, 2; `-` is a missing judgement."""
    return [{str(n): v for n, v in enumerate(row) if v != "-"} for row in rows]


def test_cohen_by_hand() -> None:
    """Twelve items: both approve 5, both reject 3, first only 1, second only 3.

    Observed 8/12. First approves 6/12, second 8/12: expected 6*8/144 + 6*4/144 = 72/144 = 1/2.
    Kappa = (2/3 - 1/2) / (1/2) = 1/3.
    """
    rows = items(*["aa"] * 5, *["rr"] * 3, "ar", *["ra"] * 3)
    assert agreement(rows).cohen["0 / 1"] == pytest.approx(1 / 3)
    assert percent_agreement(rows) == pytest.approx(100 * 8 / 12)


def test_fleiss_by_hand() -> None:
    """Four items, three reviewers: aaa, aar, arr, rrr.

    P_i = 1, 1/3, 1/3, 1; mean 2/3. Shares 6/12 and 6/12: chance 1/2. Kappa = (1/6) / (1/2) = 1/3.
    """
    assert agreement(items("aaa", "aar", "arr", "rrr")).fleiss == pytest.approx(1 / 3)


def test_fleiss_with_missing_judgements_by_hand() -> None:
    """aaa, ar-, r-r, and a-- which one reviewer alone judged and which is left out.

    P_i = 1, 0, 1; mean 2/3. Of seven judgements a has 4, r 3: chance (16 + 9)/49 = 25/49.
    Kappa = (2/3 - 25/49) / (24/49) = (23/147) / (72/147) = 23/72.
    """
    rows = items("aaa", "ar-", "r-r", "a--")
    found = agreement(rows)
    assert found.fleiss == pytest.approx(23 / 72)
    assert (found.items, found.single) == (3, 1)
    assert found.percent == pytest.approx(100 * 4 / 5)
    assert found.common == {"0 / 1": 2, "0 / 2": 2, "1 / 2": 1}
    assert found.cohen["0 / 2"] == pytest.approx(1.0)


def test_what_the_data_cannot_give_is_none_and_never_zero() -> None:
    assert agreement(items("a--", "-r-")).fleiss is None
    assert percent_agreement([]) is None
    assert agreement([*items("a-", "-r"), {"2": "a", "0": "a"}]).cohen["0 / 2"] is None
    assert agreement(items("aaa", "aaa")).fleiss is None, "one category only: kappa is not defined"


@given(st.lists(st.text("ar-", min_size=3, max_size=3), min_size=1, max_size=12))
def test_order_of_items_and_names_of_reviewers_do_not_matter(rows: list[str]) -> None:
    forward, backward = agreement(items(*rows)), agreement(items(*(r[::-1] for r in rows[::-1])))
    assert forward.percent == pytest.approx(backward.percent)
    assert forward.fleiss == pytest.approx(backward.fleiss)
    assert forward.cohen.get("0 / 2") == pytest.approx(backward.cohen.get("0 / 2"))

"""Licences of sources: what is known of them, whether they mix, and what terms a mixture has.

A guard against oversight, not legal advice: it knows the licences that corpora of this field carry,
refuses what cannot be combined, and asks the user where it does not know. Identifiers are SPDX's;
`research-only` is a condition of its own that a source may add (`CC-BY-NC-4.0 AND research-only`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ....core.errors import ConfigError
from ....core.record import Record

RESEARCH_ONLY = "research-only"
UNKNOWN = "unknown"


class Terms(Record):
    """What a licence asks for, beyond naming the authors.

    Attributes:
        id: as the source gives it, in SPDX's spelling where it is known.
        known: False where nothing is known, and so nothing is permitted for certain.
        family: licences of one family are versions of one text; share-alike passes between them.
    """

    id: str
    known: bool = True
    attribution: bool = True
    non_commercial: bool = False
    share_alike: bool = False
    no_derivatives: bool = False
    research_only: bool = False
    family: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Its conditions by name, for people."""
        if not self.known:
            return ("unknown",)
        flags = {
            "attribution": self.attribution,
            "non-commercial": self.non_commercial,
            "share-alike": self.share_alike,
            "no derivatives": self.no_derivatives,
            "research only": self.research_only,
        }
        return tuple(name for name, on in flags.items() if on)


_PERMISSIVE = (
    "Apache-2.0",
    "BSD-3-Clause",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CDLA-Permissive-2.0",
    "MIT",
    "ODC-By-1.0",
)
_PUBLIC_DOMAIN = ("CC0-1.0", "PDDL-1.0", "Unlicense")
_RESTRICTED = tuple(
    f"CC-{kind}-{version}"
    for kind in ("BY-SA", "BY-NC", "BY-NC-SA", "BY-ND", "BY-NC-ND")
    for version in ("3.0", "4.0")
)
KNOWN_LICENCES = (*_PERMISSIVE, *_PUBLIC_DOMAIN, *_RESTRICTED, "ODbL-1.0")
_BY_KEY = {re.sub(r"[^a-z0-9.]", "", name.lower()): name for name in KNOWN_LICENCES}


def terms_of(licence: str) -> Terms:
    """The terms of a licence by its name; spelling and case are forgiven, an unknown name is not.

    `CC BY-NC 4.0`, `cc-by-nc-4.0` and `CC-BY-NC-4.0` are one; joined to `research-only` (by AND, a
    comma or `+`) it has that condition too. Whatever is not understood whole is unknown.
    """
    parts = [p.strip() for p in re.split(r"\s+AND\s+|\s+and\s+|[,+;]", licence) if p.strip()]
    names = [part for part in parts if not _is_research_only(part)]
    research = len(names) < len(parts)
    name = _BY_KEY.get(re.sub(r"[^a-z0-9.]", "", names[0].lower())) if len(names) == 1 else None
    if name is None:
        return Terms(id=licence.strip() or UNKNOWN, known=False, research_only=research)
    kinds = name.split("-")
    return Terms(
        id=f"{name} AND {RESEARCH_ONLY}" if research else name,
        attribution=name not in _PUBLIC_DOMAIN,
        non_commercial="NC" in kinds,
        share_alike="SA" in kinds or name == "ODbL-1.0",
        no_derivatives="ND" in kinds,
        research_only=research,
        family=name.rsplit("-", 1)[0],
    )


def _is_research_only(part: str) -> bool:
    return "research" in part.lower() and "only" in part.lower()


def combined(licences: Mapping[str, str], accepted: Iterable[str] = ()) -> Terms:
    """The terms of a data set made of these sources, the most restrictive of them all.

    Args:
        licences: each source's licence by the source's name.
        accepted: sources or licences that the user named as looked at.

    Raises:
        ConfigError: terms that cannot be combined; or different or unknown licences that were not
            accepted by name. The message names each.
    """
    terms = {source: terms_of(licence) for source, licence in sorted(licences.items())}
    _refuse_impossible(terms)
    _ask_for_consent(terms, set(accepted))
    distinct = {t.id: t for t in terms.values()}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    return _strictest(list(distinct.values()))


def _refuse_impossible(terms: Mapping[str, Terms]) -> None:
    problems = []
    if len({t.id for t in terms.values()}) > 1:
        problems = [
            f"{source} ({t.id}) may not be shared in changed form, so it mixes with nothing"
            for source, t in terms.items()
            if t.no_derivatives
        ]
    for source, t in terms.items():
        problems += [
            f"{source} ({t.id}) must be passed on under its own terms alone, and {other}"
            f" ({o.id}) {reason}"
            for other, o in terms.items()
            if t.share_alike and t.known and o.known and (reason := _clash(t, o))
        ]
    if problems:
        raise ConfigError(
            "these licences cannot be combined into one data set",
            problems=problems,
            hint="export the sources apart, each from its own folder",
        )


def _clash(shared: Terms, other: Terms) -> str | None:
    """Why `other` cannot go into a work under the share-alike terms `shared`; None if it can."""
    if other.share_alike and other.family != shared.family:
        return "demands the same for its own"
    if other.non_commercial and not shared.non_commercial:
        return "adds the non-commercial condition"
    if other.research_only and not shared.research_only:
        return "adds the research-only condition"
    return None


def _ask_for_consent(terms: Mapping[str, Terms], accepted: set[str]) -> None:
    mixed = len({t.id for t in terms.values()}) > 1
    accepted = {name.lower() for name in accepted}
    open_ones = {
        source: t
        for source, t in terms.items()
        if (mixed or not t.known) and not {source.lower(), t.id.lower()} & accepted
    }
    if not open_ones:
        return
    what = "sources under different licences" if mixed else "a source under an unknown licence"
    options = " ".join(f'--accept-licences "{source}"' for source in open_ones)
    raise ConfigError(
        f"this data set would hold {what}, not accepted by name yet",
        problems=[
            f"{source}: {t.id} ({', '.join(t.conditions) or 'no conditions'})"
            for source, t in open_ones.items()
        ],
        hint=f"read them, then {options}; the card will carry the strictest terms",
    )


def _strictest(terms: list[Terms]) -> Terms:
    """The terms that satisfy all; named after the licence among them that already does, if one."""
    union = Terms(
        id=" AND ".join(sorted(t.id for t in terms)),
        known=all(t.known for t in terms),
        **{
            flag: any(getattr(t, flag) for t in terms)
            for flag in (
                *("attribution", "non_commercial", "share_alike", "no_derivatives"),
                "research_only",
            )
        },
    )
    named = [t for t in terms if t.conditions == union.conditions and t.known]
    if not union.known or not named:
        return union
    # a later version of one text takes the earlier ones in
    return max(named, key=lambda t: t.id)


def hub_licence(terms: Terms) -> dict[str, str]:
    """The licence fields of a data card's front matter, in the Hugging Face hub's identifiers."""
    plain = terms.id.lower()
    if not terms.known:
        return {"license": "unknown"}
    if terms.id in KNOWN_LICENCES:
        return {"license": plain}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", plain)}

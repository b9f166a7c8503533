"""Data of the scorer (FPEMF §4.1): published labels and synthetic negatives. Pure.

Sources are split before anything is made from them, and a negative is made from its own side alone:
no dialogue, post or sentence is on two sides. What a source does not say about a reply is missing.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import re
import sys
import tomllib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

from ...agents.base import chat_messages
from ...agents.observations import Turn
from ...agents.roles import Role
from ...core.errors import DataError, did_you_mean
from ...environments.episodes.episode import Episode
from ...environments.scenarios.scenario import UNSPECIFIED
from ...policies.base import Message
from ...policies.heads.reading import SYSTEM
from ..rows.build import BadRow, group_of, history_of
from ..rows.spool import Spool
from ..rows.turns import turn_id

MECHANISMS = ("emotional-reactions", "interpretations", "explorations")
"""Of empathy (Sharma et al. 2020); one table each, whose name begins so."""
LEVELS = ("0", "1", "2")
TEXT_COLUMN = "Text"
LABEL_COLUMNS = ("Ground truth", "Label", "label")

Labels = Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Pair:
    """A reply to be judged.

    Attributes:
        id: names it in messages.
        source: the dialogue, post or sentence that it comes from; never on two sides.
        history: what was said before; empty where a source gives sentences alone.
        reply: the supporter's words.
        labels: by dimension whether it holds; dimensions that are not known are left out.
        made: how a negative was made: swapped, altered or off_topic; empty for a real reply.
        origin: of a swapped or off-topic reply, or of the words of an altered one, the dialogues
            that gave them.
    """

    id: str
    source: str
    history: tuple[Turn, ...]
    reply: str
    labels: Labels
    made: str = ""
    origin: tuple[str, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """As the seated scorer is asked: the dialogue, and the reply as the last message."""
        return judged(self.history, self.reply)


def judged(history: Sequence[Turn], reply: str) -> tuple[Message, ...]:
    """A dialogue and a reply as chat messages seen by the supporter."""
    if not history:
        return (SYSTEM, Message("assistant", reply))
    return (*chat_messages(SYSTEM, history, Role.SUPPORTER), Message("assistant", reply))


# Published tables


def empathy_pairs(folder: str | Path) -> tuple[list[Pair], list[BadRow]]:
    """Replies with their levels on every mechanism; "none" on all of them is unhelpful.

    The folder holds a CSV file for each mechanism, plain or gzipped, with the columns sp_id, rp_id,
    seeker_post, response_post and level (0 none, 1 weak, 2 strong), as EPITOME publishes them.
    Pairs that not every table has are bad rows.

    Raises:
        DataError: no such folder, table or column.
    """
    levels: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    texts: dict[tuple[str, str], tuple[str, str]] = {}
    bad: list[BadRow] = []
    for mechanism in MECHANISMS:
        file = _table_of(Path(folder), mechanism)
        for line, row in _rows(file, ("sp_id", "rp_id", "seeker_post", "response_post", "level")):
            key, level = (row["sp_id"], row["rp_id"]), row["level"].strip()
            if level not in LEVELS:
                bad.append(BadRow(f"{file.name}:{line}", "unknown_label", f"level {level!r}"))
                continue
            levels[key][mechanism] = int(level)
            texts[key] = (row["seeker_post"].strip(), row["response_post"].strip())
    pairs = []
    for key, found in levels.items():
        post, reply = texts[key]
        name = f"{key[0]}/{key[1]}"
        if not reply:
            bad.append(BadRow(name, "empty_reply"))
        elif len(found) < len(MECHANISMS):
            missing = ", ".join(m for m in MECHANISMS if m not in found)
            bad.append(BadRow(name, "unknown_label", f"no level of {missing}"))
        else:
            history = (Turn(Role.SEEKER, post),) if post else ()
            holds = any(level > 0 for level in found.values())
            pairs.append(Pair(name, f"post/{key[0]}", history, reply, {"empathy": holds}))
    return pairs, bad


def strategy_pairs(file: str | Path) -> tuple[list[Pair], list[BadRow]]:
    """Sentences with motivational-interviewing labels; non-adherent ones are unhelpful.

    A CSV file, plain or gzipped, with the column Text and a label column (Ground truth or Label).
    Sentences that occur twice with labels of both kinds are bad rows; twice with one, they count
    once.

    Raises:
        DataError: no such file or column.
    """
    path = Path(file)
    known = mi_labels()
    found: dict[str, Pair] = {}
    bad: list[BadRow] = []
    for line, row in _rows(path, (TEXT_COLUMN,)):
        column = next((name for name in LABEL_COLUMNS if name in row), None)
        if column is None:
            raise DataError(
                f"has no label column; its columns: {', '.join(row)}",
                file=path,
                hint=f"one of {', '.join(LABEL_COLUMNS)} is expected",
            )
        text, label = row[TEXT_COLUMN].strip(), row[column].strip()
        name = f"{path.name}:{line}"
        if not text:
            bad.append(BadRow(name, "empty_reply"))
            continue
        if label.casefold() not in known:
            hint = did_you_mean(label.casefold(), known) or ""
            bad.append(BadRow(name, "unknown_label", f"{label!r} {hint}".rstrip()))
            continue
        key, holds = " ".join(text.casefold().split()), known[label.casefold()]
        if key in found and found[key].labels["strategy"] != holds:
            bad.append(BadRow(name, "unknown_label", f"labelled otherwise in {found[key].id}"))
            continue
        found.setdefault(key, Pair(name, f"sentence/{key}", (), text, {"strategy": holds}))
    return list(found.values()), bad


@cache
def mi_labels() -> dict[str, bool]:
    """By label, in lower case, whether it is adherent or neutral (True) or non-adherent (False)."""
    text = files(__package__).joinpath("mi_labels.toml").read_text("utf-8")
    groups = tomllib.loads(text)
    return {
        label.casefold(): group != "non_adherent"
        for group, labels in groups.items()
        for label in labels["labels"]
    }


def _table_of(folder: Path, mechanism: str) -> Path:
    found = sorted(folder.glob(f"{mechanism}*.csv*")) if folder.is_dir() else []
    if len(found) != 1:
        raise DataError(
            f"holds {len(found)} tables of {mechanism}",
            file=folder,
            hint=f"one file {mechanism}….csv for each of {', '.join(MECHANISMS)} is expected",
        )
    return found[0]


def _rows(file: Path, needed: Sequence[str]) -> Iterable[tuple[int, dict[str, str]]]:
    """Lines (from 2, after the header) and fields of a CSV file."""
    if not file.is_file():
        raise DataError("no such file", file=file, hint="give a CSV file, plain or gzipped")
    raw = file.read_bytes()
    text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"has no column {', '.join(missing)}; its columns: "
            + ", ".join(reader.fieldnames or ()),
            file=file,
        )
    for row in reader:
        yield reader.line_num, {k: v or "" for k, v in row.items() if k is not None}


# Made from dialogues


@dataclass(frozen=True, slots=True)
class RealReply:
    """A real reply in its place. `candidate`: which of several texts for it, as in ratings."""

    id: str
    episode: str
    group: str
    problem_type: str
    history: tuple[Turn, ...]
    reply: str
    candidate: str = ""


def real_replies(episodes: Iterable[Episode]) -> Spool[RealReply]:
    """All replies of supporters that answer something."""
    return Spool(iter_real_replies(episodes))


def iter_real_replies(episodes: Iterable[Episode]) -> Iterator[RealReply]:
    """The same as a stream."""
    return (
        RealReply(
            turn_id(episode, n), episode.id, group_of(episode), episode.scenario.problem_type,
            history, utterance.text.strip(),
        )
        for episode in episodes
        for n, utterance in enumerate(episode.utterances)
        if utterance.role is Role.SUPPORTER and utterance.text.strip()
        and (history := history_of(episode, n))
    )  # fmt: skip


def coherence_pairs(
    replies: Sequence[RealReply],
    *,
    coherent: int,
    incoherent: int,
    altered_share: float,
    altered_words: float,
    seed: int,
) -> Spool[Pair]:
    """Real replies, and ones made incoherent by swapping or by altering key words.

    A swapped reply was said elsewhere: in another dialogue, or four exchanges or more away in the
    same one. Altered key words come from replies of other dialogues. At most the given numbers, in
    the same ratio where there are too few replies.

    Args:
        replies: of one side of a split.
        coherent, incoherent: how many of each.
        altered_share: of the incoherent ones.
        altered_words: share of a reply's key words that is altered, at least one.
        seed: of the draws.
    """
    chance = random.Random(f"coherence/{seed}")  # noqa: S311 - not cryptography
    good, bad = _scaled(coherent, incoherent, len(replies))
    drawn = chance.sample(range(len(replies)), good)
    pairs = Spool(_real(replies[place], "coherence") for place in drawn)
    altered = round(bad * altered_share)
    words = _KeyWords(replies)
    for place in _in_random_order(len(replies), bad, chance):
        real = replies[place]
        made = words.alter(real, altered_words, chance) if altered else None
        altered -= made is not None
        made = made or _swapped(real, replies, chance)
        if made is not None:
            pairs.append(made)
    return pairs


def topic_pairs(
    replies: Sequence[RealReply], *, on_topic: int, off_topic: int, seed: int
) -> Spool[Pair]:
    """Real replies, and ones from dialogues about another problem type.

    Dialogues without a known problem type are left aside.
    """
    chance = random.Random(f"topic/{seed}")  # noqa: S311 - not cryptography
    kinds = [sys.intern(real.problem_type) for real in replies]
    known = array("Q", (n for n, kind in enumerate(kinds) if kind.casefold() != UNSPECIFIED))
    others: dict[str, array[int]] = {}
    good, bad = _scaled(on_topic, off_topic, len(known))
    drawn = chance.sample(range(len(known)), good)
    pairs = Spool(_real(replies[known[place]], "topic") for place in drawn)
    for place in _in_random_order(len(known), bad, chance):
        real = replies[known[place]]
        if (own := real.problem_type) not in others:
            others[own] = array("Q", (n for n in known if kinds[n] != own))
        if others[own]:
            other = replies[chance.choice(others[own])]
            pairs.append(_negative(real, other.reply, "topic", "off_topic", (other.episode,)))
    return pairs


def _scaled(good: int, bad: int, replies: int) -> tuple[int, int]:
    """As many as asked for, or in the same ratio as many as there are real replies for the good."""
    if good <= replies:
        return good, bad
    return replies, round(bad * replies / good)


def _in_random_order(replies: int, count: int, chance: random.Random) -> array[int]:
    """Places of so many replies in random order, all before any comes again."""
    found = array("Q")
    while replies and len(found) < count:
        found.extend(chance.sample(range(replies), min(replies, count - len(found))))
    return found


def _real(real: RealReply, dimension: str) -> Pair:
    name = f"{real.id}/{dimension}"
    return Pair(name, real.group, real.history, real.reply, {dimension: True})


def _negative(
    real: RealReply, reply: str, dimension: str, made: str, origin: tuple[str, ...]
) -> Pair:
    name = f"{real.id}/{made}"
    return Pair(name, real.group, real.history, reply, {dimension: False}, made, origin)


FAR = 8
"""Utterances between two places of one dialogue whose replies may be swapped."""


def _swapped(real: RealReply, replies: Sequence[RealReply], chance: random.Random) -> Pair | None:
    for _ in range(50):
        other = chance.choice(replies)
        near = other.episode == real.episode and abs(len(other.history) - len(real.history)) < FAR
        if not near and other.reply.casefold() != real.reply.casefold():
            return _negative(real, other.reply, "coherence", "swapped", (other.episode,))
    return None  # too few dialogues


class _KeyWords:
    """Key words of replies: longer ones that few dialogues have."""

    COMMON = 0.05
    LETTERS = 4

    def __init__(self, replies: Sequence[RealReply]) -> None:
        of: dict[str, set[str]] = defaultdict(set)
        for real in replies:
            words = (word for word in _words(real.reply) if len(word) >= self.LETTERS)
            of[real.episode].update(map(sys.intern, words))
        counts = Counter(word for found in of.values() for word in found)
        most = max(3.0, self.COMMON * len(of))
        self._key = {word for word, dialogues in counts.items() if dialogues <= most}
        self._of = {name: tuple(sorted(found & self._key)) for name, found in of.items()}
        self._episodes = [name for name, found in self._of.items() if found]

    def alter(self, real: RealReply, share: float, chance: random.Random) -> Pair | None:
        """The reply with key words of other dialogues; None where it has none, or there is none."""
        own = [word for word in dict.fromkeys(_words(real.reply)) if word in self._key]
        donors = [name for name in self._episodes if name != real.episode]
        if not own or not donors:
            return None
        reply, origin = real.reply, []
        for word in chance.sample(own, max(1, round(share * len(own)))):
            donor = chance.choice(donors)
            other = chance.choice(self._of[donor])
            whole = rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])"
            reply = re.sub(whole, partial(_like, other), reply, flags=re.I)
            origin.append(donor)
        if reply.casefold() == real.reply.casefold():
            return None
        return _negative(real, reply, "coherence", "altered", tuple(dict.fromkeys(origin)))


def _like(other: str, found: re.Match[str]) -> str:
    """The other word, with a capital where the one it replaces has one."""
    return other.capitalize() if found[0][:1].isupper() else other


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())

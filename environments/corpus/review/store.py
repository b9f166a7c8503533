"""The review store: one SQLite file beside a corpus, written by several reviewers at once.

Rows are only added: a decision or an edit is never changed or removed, so nothing said is lost and
the state of every dialogue follows from the rows. Each change is one transaction that is on disk
when the call returns. A decision or an edit names the version that was seen; if somebody edited the
dialogue meanwhile the call is refused, so nobody approves a text that was not read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from ....core.claim import refuse_change
from ....core.errors import ConfigError, DataError, RunError, did_you_mean
from ....core.record import Record
from ...episodes.episode import Episode
from .database import ReviewDatabase, reviewer_key
from .review import (
    REQUIRED_REVIEWERS,
    Decision,
    Edit,
    ReviewItem,
    ReviewState,
    Ruling,
    Standing,
    Verdict,
    edited,
    item_of,
    reading_order,
    standing,
)


class Progress(Record):
    """How far a review is.

    Attributes:
        states: number of dialogues pending, approved and rejected.
        edited: dialogues with at least one edit.
        ruled: dialogues that an adjudicator decided, in their current version.
        crisis: dialogues with crisis language.
        decisions: number of decisions by reviewer, outdated ones included.
    """

    required: int
    dialogues: int
    states: dict[str, int]
    edited: int
    ruled: int = 0
    crisis: int
    decisions: dict[str, int]


class ReviewStore(ReviewDatabase):
    """The store of one corpus. Use as a context manager; one object a thread.

    Args:
        folder: of the corpus.
        create: make the store if it is not there.
        clock: gives the time of a decision, UTC in ISO 8601.

    Raises:
        DataError: there is no store and none is to be made; or the file is not a review store.
    """

    # Starting

    def start(self, *, required: int = REQUIRED_REVIEWERS, seed: int = 0) -> None:
        """Fix the rule of this review, or check that it is the one that was fixed.

        Raises:
            ConfigError: fewer than one reviewer.
            RunError: the review was started under another rule.
        """
        if required < 1:
            raise ConfigError("a review needs at least one reviewer", hint="e.g. --required 3")
        with self._change():
            row = self._db.execute("SELECT required, seed FROM rule").fetchone()
            if row is None:
                self._db.execute("INSERT INTO rule VALUES (?, ?)", (required, seed))
            else:
                refuse_change(
                    self.path,
                    dict(row),
                    {"required": required, "seed": seed},
                    what="review",
                    hint="keep the rule, or move the file away to start a new review",
                )

    def enrol(self, episodes: Iterable[Episode]) -> int:
        """Take episodes into the review; returns the number of new ones.

        Raises:
            DataError: an enrolled episode has another text now; reviewers judged the one enrolled.
        """
        added = 0
        with self._change():
            for episode in episodes:
                item = item_of(episode)
                row = self._db.execute(
                    "SELECT item FROM episodes WHERE id = ?", (item.id,)
                ).fetchone()
                if row is None:
                    self._db.execute(
                        "INSERT INTO episodes VALUES (?, 0, ?)", (item.id, item.model_dump_json())
                    )
                    added += 1
                elif ReviewItem.model_validate_json(row["item"]).original != item.original:
                    raise DataError(
                        f"the episode '{item.id}' was enrolled with another text",
                        file=self.path,
                        hint="the log or its cleaning changed since; restore it, or move the store"
                        " away to start a new review",
                    )
        return added

    @property
    def required(self) -> int:
        """How many reviewers must approve."""
        return int(self._rule()["required"])

    @property
    def seed(self) -> int:
        """Of the reviewers' reading orders."""
        return int(self._rule()["seed"])

    # Reviewing

    def item(self, episode: str) -> ReviewItem:
        """One dialogue in its current version.

        Raises:
            ConfigError: no such episode is enrolled.
        """
        row = self._db.execute("SELECT item FROM episodes WHERE id = ?", (episode,)).fetchone()
        if row is None:
            known = [r["id"] for r in self._db.execute("SELECT id FROM episodes")]
            raise ConfigError(
                f"no dialogue '{episode}' under review; {len(known)} are enrolled",
                hint=did_you_mean(episode, known) or "`warmline review status` lists them",
            )
        return edited(ReviewItem.model_validate_json(row["item"]), self.edits(episode))

    def next_item(self, reviewer: str) -> ReviewItem | None:
        """The next dialogue for this reviewer, or None if nothing is left to review.

        That is the first in the reviewer's own order whose current version neither this reviewer
        nor enough others have judged; skipped ones come last, the earliest skipped first.
        """
        reviewer = self._named(reviewer)
        key = reviewer_key(reviewer)
        seen: dict[str, set[str]] = defaultdict(set)
        for row in self._db.execute(
            "SELECT d.episode, d.reviewer FROM decisions d JOIN episodes e"
            " ON e.id = d.episode AND e.version = d.version"
        ):
            seen[row["episode"]].add(reviewer_key(row["reviewer"]))
        skipped = {
            row["episode"]: row["number"]
            for row in self._db.execute("SELECT * FROM skips ORDER BY number")
            if reviewer_key(row["reviewer"]) == key
        }
        required = self.required
        open_ids = [
            row["id"]
            for row in self._db.execute("SELECT id FROM episodes")
            if key not in seen[row["id"]] and len(seen[row["id"]]) < required
        ]
        ordered = reading_order(open_ids, reviewer, self.seed)
        ordered.sort(key=lambda episode: skipped.get(episode, 0))
        return self.item(ordered[0]) if ordered else None

    def decide(
        self, episode: str, reviewer: str, verdict: Verdict, *, version: int, reason: str = ""
    ) -> Standing:
        """Approve or reject the version that was read; where the dialogue stands then.

        Raises:
            ConfigError: no such episode, no reviewer's name, or a rejection without a reason.
            RunError: it was edited meanwhile.
        """
        reviewer, reason = self._named(reviewer), reason.strip()
        if verdict is Verdict.REJECT and not reason:
            raise ConfigError(
                "a rejection needs a reason", hint='--reason "the seeker gives advice"'
            )
        with self._change():
            self._expect(episode, version)
            self._db.execute(
                "INSERT INTO decisions (episode, version, reviewer, verdict, reason, at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (episode, version, reviewer, verdict.value, reason, self.clock()),
            )
            return self.standing(episode)

    def edit(
        self,
        episode: str,
        reviewer: str,
        utterance: int,
        text: str,
        *,
        version: int,
        reason: str = "",
    ) -> ReviewItem:
        """Change one utterance; gives the new version, about which nobody has decided yet.

        Args:
            episode: its id.
            reviewer: who changes it.
            utterance: index from 0.
            text: what stands there from now on.
            version: the version that was read.
            reason: why.

        Raises:
            ConfigError: no such episode or utterance, an empty text, or the text that stands there.
            RunError: it was edited meanwhile.
        """
        reviewer, text = self._named(reviewer), text.strip()
        with self._change():
            item = self._expect(episode, version)
            if not 0 <= utterance < len(item.turns):
                raise ConfigError(
                    f"'{episode}' has no utterance {utterance}; it has 0 to {len(item.turns) - 1}"
                )
            before = item.turns[utterance].text
            if not text or text == before:
                raise ConfigError(
                    f"utterance {utterance} of '{episode}': the new text is"
                    + (" the old one" if text else " empty"),
                    hint="reject the dialogue if the utterance cannot stand in any form",
                )
            self._db.execute(
                "INSERT INTO edits (episode, version, utterance, before, after, reviewer, reason, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(episode, version + 1, utterance, before, text),
                    *(reviewer, reason.strip(), self.clock()),
                ),
            )
            self._db.execute("UPDATE episodes SET version = ? WHERE id = ?", (version + 1, episode))
            return self.item(episode)

    def rule(
        self, episode: str, adjudicator: str, verdict: Verdict, *, version: int, reason: str
    ) -> Standing:
        """Decide a version on which reviewers differ; where the dialogue stands then.

        Raises:
            ConfigError: no such episode, no name, no reason, no dispute, or the adjudicator has judged
                that version as a reviewer.
            RunError: it was edited meanwhile.
        """
        name, reason = self._named(adjudicator), reason.strip()
        if not reason:
            raise ConfigError("a ruling needs a reason", hint="say what decided it")
        with self._change():
            self._expect(episode, version)
            found = self.standing(episode)
            if not found.disputed:
                raise ConfigError(
                    f"the reviewers of '{episode}' do not differ"
                    + (", since it was ruled" if found.ruling else ""),
                    hint="a ruling is for what some approve and some reject",
                )
            if name in (*found.approved_by, *found.rejected):
                raise ConfigError(
                    f"'{name}' has judged '{episode}' as a reviewer",
                    hint="somebody who has not must rule",
                )
            self._db.execute(
                "INSERT INTO rulings (episode, version, reviewer, verdict, reason, at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (episode, version, name, verdict.value, reason, self.clock()),
            )
            return self.standing(episode)

    def skip(self, episode: str, reviewer: str) -> None:
        """Put a dialogue at the end of this reviewer's order."""
        with self._change():
            self.item(episode)
            self._db.execute(
                "INSERT INTO skips (episode, reviewer, at) VALUES (?, ?, ?)",
                (episode, self._named(reviewer), self.clock()),
            )

    # Reading

    def decisions(self, episode: str | None = None) -> list[Decision]:
        """All decisions, or one episode's, oldest first."""
        return [Decision(**row) for row in self._rows("decisions", episode)]

    def rulings(self, episode: str | None = None) -> list[Ruling]:
        """All rulings, or one episode's, oldest first."""
        return [Ruling(**row) for row in self._rows("rulings", episode)]

    def edits(self, episode: str | None = None) -> list[Edit]:
        """All edits, or one episode's, oldest first."""
        return [Edit(**row) for row in self._rows("edits", episode)]

    def standing(self, episode: str) -> Standing:
        """Where one dialogue stands."""
        item = self.item(episode)
        return standing(
            episode,
            item.version,
            self.decisions(episode),
            self.edits(episode),
            required=self.required,
            ruling=next(reversed(self.rulings(episode)), None),
        )

    def standings(self) -> Iterator[Standing]:
        """Where every dialogue stands, in the order of enrolment; one consistent picture."""
        with self._reading():
            decisions: dict[str, list[Decision]] = defaultdict(list)
            edits: dict[str, list[Edit]] = defaultdict(list)
            for decision in self.decisions():
                decisions[decision.episode].append(decision)
            for edit in self.edits():
                edits[edit.episode].append(edit)
            rulings = {ruling.episode: ruling for ruling in self.rulings()}
            rows = self._db.execute("SELECT id, version FROM episodes ORDER BY rowid").fetchall()
            required = self.required
        for row in rows:
            name = row["id"]
            yield standing(
                name, row["version"], decisions[name], edits[name],
                required=required, ruling=rulings.get(name),
            )  # fmt: skip

    def originals(self) -> dict[str, str]:
        """Fingerprint of every enrolled episode, by id."""
        return {
            row["id"]: row["original"]
            for row in self._db.execute(
                "SELECT id, json_extract(item, '$.original') AS original FROM episodes"
            )
        }

    def progress(self) -> Progress:
        """Counts over all dialogues and reviewers."""
        standings = list(self.standings())
        states = Counter(s.state.value for s in standings)
        crisis = self._db.execute(
            "SELECT COUNT(*) FROM episodes WHERE json_array_length(item, '$.crisis') > 0"
        ).fetchone()[0]
        by_reviewer = Counter(d.reviewer for d in self.decisions())
        return Progress(
            required=self.required,
            dialogues=len(standings),
            states={state.value: states[state.value] for state in ReviewState},
            edited=sum(bool(s.edits) for s in standings),
            ruled=sum(s.ruling is not None for s in standings),
            crisis=crisis,
            decisions=dict(sorted(by_reviewer.items())),
        )

    # Inside

    def _expect(self, episode: str, version: int) -> ReviewItem:
        item = self.item(episode)
        if item.version != version:
            raise RunError(
                f"'{episode}' is at version {item.version}; version {version} was read",
                hint="somebody edited it meanwhile; read it again",
            )
        return item

    def _named(self, reviewer: str) -> str:
        """The reviewer's name as it was first spelt here; see `reviewer_key`."""
        key = reviewer_key(reviewer)
        if not key:
            raise ConfigError("a reviewer needs a name", hint="a pseudonym will do")
        return self._spellings().get(key, reviewer.strip())

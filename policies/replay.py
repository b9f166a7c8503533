"""A policy that answers from a recorded episode log: exactly, or by who spoke when."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..core.errors import ConfigError, DataError, InvalidReply, PolicyError
from ..core.files import episode_logs
from ..core.jsonl import complete_lines, parse_json
from .asking import checked
from .base import BasePolicy, Capabilities, FinishReason, Message, Reply, Request, Usage


class NotRecorded(PolicyError):
    """The log holds no answer to this request."""


class ReplayPolicy(BasePolicy):
    """Answers what the log says was answered.

    Args:
        path: a run's folder or its `episodes.jsonl`.
        match: `exact` answers a request with the same role, seed and messages, and refuses any
            other; so a replayed run is the recorded run or an error. `turn` answers by episode id,
            role and exchange (each begins with the seeker), whatever the messages say; so one role
            can be replayed against a new policy in another seat. Where an empty answer was asked
            for again, the last answer counts.

    Raises:
        DataError: no such log, or a line that is not an episode.
    """

    name = "replay"
    capabilities = Capabilities(schema=True, prefill=True)

    def __init__(self, path: str | Path, *, match: Literal["exact", "turn"] = "exact") -> None:
        if match not in ("exact", "turn"):
            raise ConfigError(f"match must be 'exact' or 'turn', not {match!r}")
        self.path = Path(path)
        self.match = match
        self._answers: dict[Any, Reply] = {}
        for log in self._logs():
            for number, line in complete_lines(log):
                self._learn(line, log, number)

    def _logs(self) -> list[Path]:
        logs = episode_logs(self.path) if self.path.is_dir() else [self.path]
        if not logs or not all(log.is_file() for log in logs):
            raise DataError("no episode log there", file=self.path, hint="give a run's folder")
        return logs

    def _learn(self, line: str, log: Path, number: int) -> None:
        try:
            episode = parse_json(line)
            if not isinstance(episode["id"], str):
                raise TypeError(f"the id must be text, not {episode['id']!r:.60}")
            messages = [Message(m["role"], m["content"]) for m in episode["messages"]]
            turn, before = -1, ""
            for call, latency in zip(episode["calls"], episode["timing"]["latencies"], strict=True):
                turn += call["role"] == "seeker" != before
                before = call["role"]
                if call.get("text") is None:
                    continue
                prompt = tuple(messages[index] for index in call["messages"])
                usage = call.get("usage")
                reply = checked(
                    Reply(
                        text=call["text"],
                        finish_reason=FinishReason(call["finish_reason"]),
                        usage=Usage(**usage) if usage else None,
                        latency=latency,
                        policy=f"replay:{call['policy']}",
                        thinking=call.get("thinking"),
                    ),
                    self,
                )
                if self.match == "exact":
                    self._answers[call["role"], call.get("seed"), prompt] = reply
                else:
                    self._answers[f"{episode['id']}/{call['role']}", turn] = reply
        except (KeyError, TypeError, ValueError, IndexError, InvalidReply) as error:
            raise DataError(f"not an episode record: {error!r}", file=log, line=number) from error

    async def respond(self, request: Request) -> Reply:
        """The recorded answer.

        Raises:
            NotRecorded: the log has none; with `exact`, the prompts have diverged.
        """
        turn = getattr(request.observation, "turn", 0)
        key: Any = (request.role, request.seed, request.messages)
        if self.match == "turn":
            key = (request.session, turn)
        if (reply := self._answers.get(key)) is None:
            raise NotRecorded(
                f"{self.path} holds no answer for call {turn + 1} of the {request.role}"
                f" ({request.session or 'no session'})",
                hint="same seed, scenarios, templates and limits as the recorded run are needed; or"
                " use match='turn'",
            )
        return reply

    def describe(self) -> dict[str, Any]:
        return {"policy": self.name, "path": str(self.path), "match": self.match}

"""A policy that mostly listens."""

from __future__ import annotations

from warmline import Reply, Request


class QuietListener:
    """Repeats the last words it heard as a question.

    Args:
        words: how many of them.
    """

    name = "quiet_listener"

    def __init__(self, words: int = 4) -> None:
        self.words = words

    async def respond(self, request: Request) -> Reply:
        """Answer one request; a choice is answered with the first option."""
        if request.choices:
            return Reply(request.choices[0], policy=self.name)
        heard = request.messages[-1].utterance.rstrip(".!? ").split()[-self.words :]
        return Reply(f"... {' '.join(heard)}?", policy=self.name)

    def describe(self) -> dict[str, object]:
        """What decides the answers; saved with a run and compared when it is resumed."""
        return {"policy": self.name, "words": self.words}

"""Answers to what pairs ask, in a module that workers import in a moment, without torch."""

from __future__ import annotations

import json

from warmline.policies.base import Request


def analysis(reply: str, score: int = 2) -> str:
    about = dict.fromkeys(("profile", "emotion", "personality", "intention"), "not told")
    return json.dumps(about | {"score": score, "criticism": "vague", "reply": reply})


def own(request: Request) -> bool:
    """Whether a request asks for a reply, not for a reflection."""
    return request.schema is None


def seeded(request: Request) -> str:
    return f"Bad {request.seed}." if own(request) else analysis(f"Rent {request.seed}.")

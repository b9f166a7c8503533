"""Any model that Inspect AI knows as the supporter: Warmline's conversation as an Inspect task.

usage: inspect eval inspect_supporter.py --model openai/gpt-4o-mini -T policy=embedded
"""

from typing import Any

import warmline

try:
    from inspect_ai import Task, dataset, model, scorer, solver, task
except ImportError:
    raise SystemExit("inspect_supporter.py needs Inspect: pip install inspect-ai") from None

SAID: Any = {"seeker": model.ChatMessageUser, "supporter": model.ChatMessageAssistant}
SENT = {"user": SAID["seeker"], "assistant": SAID["supporter"], "system": model.ChatMessageSystem}


class InspectModel:
    """A seat for the model that Inspect evaluates."""

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        asked = [SENT[m.role](content=m.content) for m in request.messages]
        limits = model.GenerateConfig(max_tokens=request.sampling.max_tokens, seed=request.seed)
        output = await model.get_model().generate(asked, config=limits)
        return warmline.Reply(text=output.completion, policy=output.model)


@solver.solver
def conversation(policy: str, turns: int) -> Any:
    seats: Any = {"seeker": warmline.make_policy(policy), "supporter": InspectModel()}
    played = warmline.SupportEnvironment(**seats, max_turns=turns)

    async def solve(state: Any, generate: Any) -> Any:
        episode = await played.run(state.metadata["scenario"], seed=state.epoch)
        assert episode.error is None, episode.error
        state.messages = [SAID[u.role](content=u.text) for u in episode.utterances]
        kept = [not reply.repairs for reply in episode.utterances[1::2]]
        state.metadata = {"episode": episode.to_json(), "kept": sum(kept) / max(len(kept), 1)}
        return state

    return solve


@scorer.scorer(metrics=[scorer.mean()])
def short_enough() -> Any:
    async def score(state: Any, target: Any) -> scorer.Score:
        return scorer.Score(value=state.metadata["kept"])

    return score  # the share of replies that the limit of three sentences left as they were


@task
def support(policy: str = "scripted", episodes: int = 3, turns: int = 6) -> Task:
    scenarios = warmline.draw_scenarios(episodes, seed=1)
    samples = [
        dataset.Sample(input=s.situation, id=s.id, metadata={"scenario": s}) for s in scenarios
    ]
    return Task(samples, solver=conversation(policy, turns), scorer=short_enough())

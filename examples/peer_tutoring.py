"""An environment of your own: two pupils explain something to each other, and then change places.

Agents with other prompts, any policies, and a loop one can read give records that `to_frame`,
`analyze` and `export` take as they take any other:    python examples/peer_tutoring.py [POLICY]
"""

from __future__ import annotations

import asyncio
import sys

import warmline
from warmline.agents import Role
from warmline.agents import observations as seen
from warmline.environments import Utterance

NOTES = "{% block opening %}(Begin.){% endblock %}{% block note %}{% endblock %}"
PUPIL = (
    "{% block system %}You are a pupil. {{ situation }} Ask what you do not follow.{% endblock %}"
)
TUTOR = (
    "{% block system %}You explain {{ problem_type }} to a classmate, step by step.{% endblock %}"
)


async def lesson(peers: list[warmline.Policy], topic: warmline.Scenario) -> warmline.Episode:
    said: list[Utterance] = []  # eight turns; in the middle who asked begins to explain
    for turn in range(8):
        peer = peers[(turn + (turn >= 4)) % 2]
        heard = tuple(seen.Turn(u.role, u.text) for u in said[-6:])
        if turn % 2 == 0:
            pupil = warmline.Seeker(peer, template=PUPIL + NOTES)
            knows = seen.SeekerBrief(topic.problem_type, topic.situation, "")
            view = seen.SeekerObservation(knows, heard, turn // 2)
            reply = await peer.respond(pupil.request(view))
            said.append(Utterance(Role.SEEKER, pupil.read(reply).text, reply.text))
        else:
            tutor = warmline.Supporter(peer, template=TUTOR + NOTES)
            brief = seen.SupporterBrief(topic.problem_type)
            asked = tutor.request(seen.SupporterObservation(brief, heard, turn=turn // 2))
            reply = await peer.respond(asked)
            said.append(Utterance(Role.SUPPORTER, tutor.read(reply).text, reply.text))
    stop = warmline.StopReason.TURN_LIMIT
    return warmline.Episode(id=topic.id, scenario=topic, stop=stop, utterances=tuple(said))


def main(policy: str) -> None:
    peers = [warmline.make_policy(policy), warmline.make_policy(policy)]
    knows = "You know that 1/2 is more than 1/3, and not why."
    topic = warmline.Scenario(
        id="fractions-1", problem_type="Fractions", situation=knows, category="School"
    )
    episode = asyncio.run(lesson(peers, topic))
    print(episode.transcript())
    print(warmline.to_frame([episode]).groupby("role").words.sum().to_dict())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "scripted")

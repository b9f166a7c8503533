"""The rule for role inconsistency on lines written for it, both ways, and on whole dialogues."""

from __future__ import annotations

import asyncio

import pytest

import warmline
from warmline.agents.roles import Role
from warmline.environments.corpus.cleaning.filters.roles import RoleConsistency, role_cue
from warmline.environments.corpus.cleaning.judge import ANSWERS, RoleJudge, judged
from warmline.environments.corpus.tags import Severity

from .talks import CALM, episode, seeker_says

SEEKER_IN_HER_ROLE = """
How are you today?
Thank you, I feel a bit better after writing it down.
I don't know what to do about him.
She asked me how it makes me feel and I had no answer.
My therapist said "it sounds like you are grieving".
Have a good night, and take care of yourself too.
Do you think I should talk to my boss?
I am here to work, not to make friends, he says.
I feel like nobody understands what I am going through.
You are right, I should try to sleep more.
I hope you are well too.
I understand what you mean.
I am going through something hard.
You said you went through a divorce once?
My mum tells me you should be grateful.
"Have you tried sleeping?" is all I ever hear.
You are the first person I told.
Can you help me find the words?
I was a listener for everybody at school, and nobody listened to me.
As a mother I am supposed to know what to do.
He said I would suggest you leave, just like that.
It sounds silly, I know.
Would you talk to her, in my place?
I'm sorry to bother you with this.
我不知道该怎么办。
谢谢你，我会试试的。
你觉得我应该怎么跟他说？
他说你可以试试换一份工作。
""".strip().splitlines()

SEEKER_AS_SUPPORTER = """
As a supporter, I want to make sure that you feel heard.
I'm here to support you through this difficult time.
I am your counselor and I am here to listen.
My role is to listen and to help you find your way.
It sounds like you're carrying a lot on your shoulders.
How does that make you feel?
I understand how you feel, it must be hard.
Have you considered talking to a professional about it?
I would suggest you take a walk every morning.
Your feelings are completely valid.
What brings you here today?
How can I help you today?
It's completely normal for you to feel this way.
You're not alone in this, many people go through it.
I'm so sorry to hear that you're going through this.
Could you tell me more about what you felt then?
You might want to try writing a journal.
Remember to take care of yourself and take breaks.
You're going through something really dark and difficult.
I came because of the issues you are going through.
I encourage you to reach out to your friends.
Thank you for sharing, it takes courage.
作为你的倾听者，我想告诉你不要放弃。
我能理解你的感受，这真的很不容易。
我建议你先和父母谈一谈。
""".strip().splitlines()

SUPPORTER_IN_THEIR_ROLE = """
I felt the same when my father died, it took me two years.
Thank you for telling me. What happened then?
You don't know what to do, and that is frightening.
Can you help me understand what he said?
I am glad you feel better.
If you need someone to talk to, a helpline is open all night.
Thank you for your kind words, and good luck with the exam.
What should I know about your brother?
When I lost my job I didn't know what to do either.
I know it is hard to ask for help.
She said "I need someone to talk to", and you were there.
Do you feel better now?
听起来你很难过，我在这里陪着你。
""".strip().splitlines()

SUPPORTER_AS_SEEKER = """
Thank you so much for your advice, I will try it.
Thanks for listening to me, I needed that.
I really don't know what to do anymore.
Can you help me, please?
I feel so much better now after talking to you.
Do you have any advice for me?
What should I do?
As the seeker, I feel lost.
I need someone to talk to right now.
Thank you for all your help, you saved my week.
谢谢你的建议，我会试试的。
我真的不知道该怎么办。
""".strip().splitlines()


def rates(wrong: list[str], right: list[str], role: Role) -> tuple[float, float]:
    """Precision and recall of the rule on lines that are out of role, and in it."""
    hits = [line for line in wrong if role_cue(line, role)]
    false = [line for line in right if role_cue(line, role)]
    return len(hits) / (len(hits) + len(false)), len(hits) / len(wrong)


def test_precision_and_recall_on_the_seekers_lines() -> None:
    assert rates(SEEKER_AS_SUPPORTER, SEEKER_IN_HER_ROLE, Role.SEEKER) == (1.0, 1.0)


def test_precision_and_recall_on_the_supporters_lines() -> None:
    assert rates(SUPPORTER_AS_SEEKER, SUPPORTER_IN_THEIR_ROLE, Role.SUPPORTER) == (1.0, 1.0)


def test_supporters_speak_as_supporters() -> None:
    for line in SEEKER_AS_SUPPORTER:
        assert role_cue(line, Role.SUPPORTER) is None, line


def test_one_cue_is_flagged_two_drop_and_a_claim_drops_alone() -> None:
    ask, advise = "How does that make you feel?", "I would suggest you rest."
    one = RoleConsistency().examine(seeker_says(ask))
    assert [(f.severity, f.utterance) for f in one] == [(Severity.FLAG, 4)]
    two = RoleConsistency().examine(episode(ask, CALM[1], advise, *CALM[3:]))
    assert [(f.severity, f.utterance) for f in two] == [(Severity.DROP, 0), (Severity.DROP, 2)]
    claim = RoleConsistency().examine(seeker_says("As a supporter, I am proud of you."))
    assert [f.severity for f in claim] == [Severity.DROP]
    assert claim[0].reason == "seeker claims the supporter's role"
    strict = RoleConsistency(cues=1).examine(seeker_says(ask))
    assert [f.severity for f in strict] == [Severity.DROP]


def test_wishes_at_a_goodbye_are_no_change_of_role() -> None:
    wish = "Remember to take care of yourself. Goodbye!"
    assert RoleConsistency().examine(seeker_says(wish)) == ()


def test_the_shipped_dialogues_keep_their_roles() -> None:
    for case in warmline.seed_dialogues():
        for turn in case.turns:
            cue = role_cue(turn.text, turn.role)
            assert cue is None or not cue[2], turn.text


@pytest.mark.parametrize(("answer", "value"), [(ANSWERS[0], 1.0), (ANSWERS[1], 0.0), ("Hm.", None)])
def test_a_judges_answer_becomes_a_rating_and_a_finding(answer: str, value: float | None) -> None:
    judge = RoleJudge(warmline.ScriptedPolicy(lambda request: answer))
    talk = episode(*CALM)
    (rating,), fatal = asyncio.run(judge.rate([talk]))
    assert fatal is None
    assert (rating.episode, rating.kind, rating.value) == ("e1", "judge", value)
    severities = {1.0: [], 0.0: [Severity.DROP], None: [Severity.FLAG]}
    assert [f.severity for f in judged(rating)] == severities[value]
    assert rating.notes == (None if value is not None else {"raw": answer})


def test_the_judge_sees_the_transcript_and_must_choose() -> None:
    request = RoleJudge(warmline.ScriptedPolicy()).request(episode(*CALM))
    assert request.choices == ANSWERS
    assert CALM[0] in request.messages[1].content
    assert request.sampling.temperature == 0.0

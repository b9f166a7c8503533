# %% [markdown]
# # 2 · Swapping policies
#
# Whatever decides text is a *policy*: one method. Each of the four seats takes its own. Here are a counselor that follows a rule, a supporter of ten lines, an agent of AutoGen, and a model that thinks, behind a server on this machine. Scripts stand in for the large models, so that the notebook runs anywhere; their words are no support for anybody.

# %%
import warmline

SEEKER = [
    "I lost my job on Monday.",
    "They told me by mail.",
    "I have not told my wife.",
    "Maybe tonight.",
]
rest = warmline.ScriptedPolicy(
    seeker=SEEKER, judger=["NO"], supporter=["I see."], counselor=["Others"]
)
small = {"episodes": 1, "max_turns": 8, "case_dialogues": 0, "seed": 1}

# %% [markdown]
# ## A counselor that follows a rule
#
# A counselor is asked to choose one of eight strategies (`request.choices`). The rule of Hill's stages: explore first, then comfort, then act.


# %%
class Stages:
    async def respond(self, request: warmline.Request) -> warmline.Reply:
        exchange = request.observation.turn
        wanted = (
            "Question",
            "Reflection of Feelings",
            "Affirmation and Reassurance",
            "Providing Suggestions",
        )
        assert set(wanted) <= set(request.choices)
        return warmline.Reply(text=wanted[min(exchange, 3)], policy="stages")


# %% [markdown]
# ## A supporter of ten lines
#
# It needs no text of a prompt: the observation from which prompts are made comes with the request.


# %%
class Listener:
    async def respond(self, request: warmline.Request) -> warmline.Reply:
        strategy = request.observation.strategy
        heard = request.observation.history[-1].text.rstrip(".").lower()
        words = {
            "Question": f"You say that {heard}. How was that?",
            "Reflection of Feelings": "That sounds lonely.",
            "Affirmation and Reassurance": "You got through this week.",
        }
        return warmline.Reply(
            words.get(str(strategy), "What would a first step be?"), policy="listener"
        )


(episode,) = warmline.simulate(policy=rest, counselor=Stages(), supporter=Listener(), **small)
episode

# %% [markdown]
# ## An agent of AutoGen in a seat
#
# Any AutoGen chat agent can sit down. The client here replays lines; put `OpenAIChatCompletionClient` in its place.

# %%
from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.replay import ReplayChatCompletionClient

client = ReplayChatCompletionClient(
    ["What did the mail say?", "Who could be with you tonight?"] * 2
)
agent = AssistantAgent("listener", model_client=client, system_message="You listen.")
(episode,) = warmline.simulate(policy=rest, supporter=agent, **small)
print(episode.transcript())

# %% [markdown]
# ## A reasoning model over a local server
#
# `warmline.environments.serving` puts any policy behind OpenAI's protocol. This one thinks before it answers, as DeepSeek's or Qwen's models do; the `openai` policy asks it over HTTP, as it would ask vLLM or llama.cpp.

# %%
from warmline.environments.serving import serving


class Thinker:
    name = "thinker"

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        return warmline.Reply(
            "How is it to carry this alone?", thinking="He hides it. Ask about that."
        )


with serving(Thinker()) as base_url:
    (episode,) = warmline.simulate(
        policy=rest, supporter={"policy": "openai", "base_url": base_url}, **small
    )
call = next(call for call in episode.calls if call.role == "supporter")
print("said:   ", call.text)
print("thought:", call.thinking)

# %% [markdown]
# What was thought stands in the record, and no other role ever reads it:

# %%
prompts = [m.content for c in episode.calls for m in episode.call_messages(c)]
assert not any("He hides it" in prompt for prompt in prompts)
len(prompts)

# %% [markdown]
# **Now change this.** Let the rule ask questions until the seeker has written fifteen words in all, and go on with its stages then. Only `Stages` changes.

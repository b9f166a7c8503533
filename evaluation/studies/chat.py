"""A talk in the terminal: a person as the seeker, any supporter, one episode in the log."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from ...core.claim import FreshFolder
from ...core.errors import ParticipantLeft, PolicyError
from ...core.outside.console import SafeConsole
from ...environments.episodes.episode import Episode, StopReason
from ...environments.episodes.log import LOG_NAME, EpisodeLog
from ...environments.scenarios.scenario import UNSPECIFIED, Scenario
from ...policies.asking import ask_policy
from ...policies.base import Message, Policy, Request, close_policy, open_policy
from ...policies.human.help_lines import help_lines
from ...policies.human.policy import HumanPolicy
from ...policies.safety import CRISIS_GUIDANCE
from .exchange import INVITATION, begun, ended, environments_of, exchange
from .settings import StudySettings

STORED = "The talk is stored in {folder} when it ends: what you type, and what is answered."


async def talk(
    settings: StudySettings,
    *,
    person: Policy | None = None,
    console: Console | None = None,
    show_strategy: bool = False,
) -> Episode | None:
    """Talk until the person leaves or the last exchange is done; the episode is added to the log.

    What a model writes with crisis language in it comes with the help lines in front. Where a model
    fails, the talk ends there and is stored.

    Args:
        settings: of kind `chat`, with one model.
        person: who types; the terminal by default.
        console: where to print; the terminal by default.
        show_strategy: print each reply's strategy.

    Returns:
        The episode; None where nothing was answered.

    Raises:
        ConfigError: a policy that cannot be used.
        PolicyError: the model failed before it had answered anything.
    """
    environment = next(iter(environments_of(settings).values()))
    console = console or SafeConsole()
    person = person or HumanPolicy(show_brief=False, country=settings.country)
    now = datetime.now(UTC)
    about = Scenario(
        id=f"chat-{now:%Y%m%d-%H%M%S-%f}", problem_type=UNSPECIFIED, situation=UNSPECIFIED
    )
    episode = begun(environment, about, settings.seed)
    stop, failure = StopReason.TURN_LIMIT, None
    console.print(Text(STORED.format(folder=settings.folder), style="dim"))
    fresh = FreshFolder(settings.folder)
    with EpisodeLog(settings.folder / LOG_NAME) as log, fresh.unless_begun({LOG_NAME}):
        opened = [environment.supporter.policy]
        if environment.counselor is not None:
            opened.append(environment.counselor.policy)
        for policy in opened:
            await open_policy(policy)
        try:
            heard = INVITATION
            for _ in range(settings.max_exchanges):
                asked = Request((Message("user", heard),), role="seeker", session=about.id)
                said = await ask_policy(person, asked)
                done = await exchange(environment, episode, said)
                episode, heard = done.episode, done.reply.text
                if done.reply.crisis and not done.guidance:
                    console.print(Text(CRISIS_GUIDANCE, style="bold"))
                    console.print(Text(str(help_lines(settings.country))))
                if show_strategy and done.reply.strategy:
                    console.print(Text(f"[{done.reply.strategy.value}]", style="dim"))
            console.print(Text(heard))
        except ParticipantLeft:
            stop = StopReason.LEFT
        except PolicyError as error:
            stop, failure = StopReason.LEFT, error
        finally:
            if episode.utterances:
                log.append(ended(episode, stop, {"kind": "chat"}))
            for policy in opened:
                await close_policy(policy)
    if failure is not None:
        if not episode.utterances:
            raise failure
        console.print(Text(f"the supporter could not answer: {failure.message}", style="yellow"))
    return ended(episode, stop, {"kind": "chat"}) if episode.utterances else None

"""Prompt templates: shipped, extended, given as text, and what they may not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmline import ScriptedPolicy, Seeker, Supporter
from warmline.agents import Role, SeekerBrief, SeekerObservation, SupporterBrief, Turn
from warmline.agents import SupporterObservation as Seen
from warmline.agents.templates import PromptTemplate, known_templates
from warmline.core.errors import ConfigError

POLICY = ScriptedPolicy()
SEEN = Seen(SupporterBrief("Job Crisis"), (Turn(Role.SEEKER, "I lost my job."),))
STANDALONE = "{% block system %}Help with {{ problem_type }}.{% endblock %}"
EXTENDING = (
    '{% extends "supporter.jinja" %}{% block note %}Write like a text message.{% endblock %}'
)


def prompt(template: str | Path) -> list[str]:
    messages = Supporter(POLICY, template=template).request(SEEN).messages
    return [message.content for message in messages]


def test_the_shipped_templates() -> None:
    assert known_templates() == [
        "counselor.jinja",
        "judger.jinja",
        "seeker.jinja",
        "supporter.jinja",
        "supporter_defined.jinja",
        "supporter_first.jinja",
        "supporter_first_defined.jinja",
        "supporter_listed.jinja",
        "supporter_short.jinja",
        "supporter_short_first.jinja",
        "supporter_short_listed.jinja",
    ]
    assert prompt("supporter.jinja") == [
        message.content for message in Supporter(POLICY).request(SEEN).messages
    ]


def test_a_template_as_text_stands_alone() -> None:
    assert prompt(STANDALONE) == ["Help with Job Crisis.", "I lost my job."]


def test_a_template_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(STANDALONE)
    assert prompt(path) == prompt(str(path)) == prompt(STANDALONE)


def test_one_block_of_a_shipped_template_is_replaced() -> None:
    system, last = prompt(EXTENDING)
    assert system == prompt("supporter.jinja")[0]
    assert last == "I lost my job.\n\nWrite like a text message."


def test_a_block_may_add_to_the_shipped_one() -> None:
    added = '{% extends "supporter.jinja" %}{% block system %}{{ super() }}\nUse {{ max_sentences }}.{% endblock %}'
    assert prompt(added)[0] == prompt("supporter.jinja")[0] + "\n\nUse 3."


def test_without_an_opening_block_the_first_message_is_not_empty() -> None:
    seen = SeekerObservation(SeekerBrief("Job Crisis", "Closed.", ""), ())
    messages = Seeker(POLICY, template=STANDALONE).request(seen).messages
    assert [message.content for message in messages] == ["Help with Job Crisis.", "(Begin.)"]


def test_the_hash_covers_the_template_and_what_it_extends() -> None:
    hashes = {
        PromptTemplate(source).sha256
        for source in (STANDALONE, EXTENDING, "supporter.jinja", EXTENDING + " ",
                       EXTENDING.replace("supporter", "seeker"))
    }  # fmt: skip
    assert len(hashes) == 5
    assert PromptTemplate(EXTENDING).sha256 in hashes


def test_an_unknown_variable_is_named_with_those_at_hand() -> None:
    template = "{% block system %}{{ situation }}{% endblock %}"
    with pytest.raises(
        ConfigError, match=r"block 'system': 'situation' is undefined\n.*problem_type"
    ):
        prompt(template)


def test_a_syntax_error_comes_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.jinja"
    path.write_text("{% block system %}\nfine\n{% if %}\n{% endblock %}")
    with pytest.raises(ConfigError, match=r"broken\.jinja, line 3"):
        PromptTemplate(path)
    with pytest.raises(ConfigError, match="template given as text, line 2"):
        PromptTemplate("{% block system %}\n{{ }}{% endblock %}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "suporter.jinja",
            r"no template 'suporter\.jinja': there is no such file(.|\n)*did you mean 'supporter\.jinja'",
        ),
        ("/nowhere/x.jinja", r"no template '/nowhere/x\.jinja'(.|\n)*path of a file"),
        ("mine.jinja", r"no template 'mine\.jinja'(.|\n)*hint: give the path of a file"),
        ('{% extends "suporter.jinja" %}', r"extends 'suporter\.jinja', which does not ship"),
        ('{% extends "../base.py" %}', "which does not ship"),
        ("{% extends problem_type %}", "needs a plain name"),
    ],
)
def test_a_template_that_is_not_there(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PromptTemplate(source)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "Help {{ problem_type }}.",
            "supporter's template has no block 'system'; its blocks: none",
        ),
        ("{% block sytem %}Help.{% endblock %}", r"its blocks: sytem\n.*did you mean 'sytem'"),
    ],
)
def test_a_template_without_a_system_block_is_refused(template: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Supporter(POLICY, template=template)


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__",
        "cases.__class__.__base__.__subclasses__()",
        "self.__init__.__globals__",
        "problem_type.__init__.__globals__['os']",
        "'{0.__class__}'.format(cases)",
        "problem_type|attr('__class__')",
        "cycler.__init__.__globals__.os",
        "[].append(1)",
        "range(10**9)|list",
        "1 / 0",
        "problem_type + 1",
    ],
)
def test_templates_cannot_leave_the_sandbox(expression: str) -> None:
    template = "{% block system %}<{{ " + expression + " }}>{% endblock %}"
    with pytest.raises(ConfigError, match="block 'system'") as raised:
        prompt(template)
    assert "<class" not in raised.value.message


@pytest.mark.parametrize(
    "expression",
    ["turn.__class__", "turn._own", "turn.message.__globals__", "turn.text.format(turn.__class__)",
     "turn.role.__class__", "turn.text.__class__", "turn.strategy.__class__", "turn.unknown"],
)  # fmt: skip
def test_records_in_the_sandbox_give_their_texts_alone(expression: str) -> None:
    turn = Turn(Role.SEEKER, "{0} {1}")
    form = "{{% block system %}}<{{{{ {} }}}}>{{% endblock %}}".format
    assert PromptTemplate(form("turn.role ~ turn.text")).render("system", turn=turn) == (
        "<seeker{0} {1}>"
    )
    with pytest.raises(ConfigError, match="block 'system'"):
        PromptTemplate(form(expression)).render("system", turn=turn)


def test_files_cannot_be_included() -> None:
    with pytest.raises(ConfigError, match="block 'system'"):
        prompt('{% block system %}{% include "../__init__.py" %}{% endblock %}')


def test_template_syntax_in_a_scenario_is_text() -> None:
    brief = SeekerBrief("{{ 7 * 7 }}", "{% raw %}{{ cases }}", "{# gone? #}")
    history = (Turn(Role.SEEKER, "Hi {{ situation }}"), Turn(Role.SUPPORTER, "{% block x %}"))
    messages = Seeker(POLICY).request(SeekerObservation(brief, history, 1)).messages
    for text in ("{{ 7 * 7 }}", "{% raw %}{{ cases }}", "{# gone? #}"):
        assert text in messages[0].content
    assert [message.content for message in messages[2:]] == ["Hi {{ situation }}", "{% block x %}"]

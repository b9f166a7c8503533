"""The grammar of given options."""

from __future__ import annotations

from warmline.policies.grammar import choice_grammar


async def code_points(text: str) -> list[int]:
    return [ord(char) for char in text]


async def test_ascii_options_are_given_as_tokens() -> None:
    assert await choice_grammar(("ab", "c"), code_points) == "root ::= <[97]> <[98]> | <[99]>"


async def test_other_options_are_given_as_characters_and_escaped() -> None:
    grammar = await choice_grammar(('a"b\\c\n', "好"), code_points)
    assert grammar == 'root ::= "a\\"b\\\\c\\n" | "好"'

"""Texts made of what readers stumble over."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = st.sampled_from([
    "I am sad", "He left", "ok", "A", "I ", "é", "我难过", "دعم", " ", ". ", ".", " ... ", "…", "..", "?!", "! ",
    "? ", "\n", "\n\n", "\r\n", "\t", "(", ")", "[", "]", '"', "“", "”", "'", "’", "„", "1. ", "2)", "3) ",
    "2.) ", "(a) ", "b) ", "• ", "Dr. ", "e.g. ", "U.S. ", "p.m. ", "No. 1", "z. B. ", "т. е. ", "etc. ", "me. ",
    "Then ", "you", "😊", "😢 ", "❤", "\ufe0f", ":) ", ":(", "<3 ", "。", "！", "？", "।", "؟", "«", " »", "「",
    "」", "*", "**", "- ", "a.b@c.de", "http://a.b/?q=1", ".com", "[1]", "5.", "'tis ", "Yahoo! ", "\u00a0",
    "\u3000", "\u2028", "\x85", "3.5", "\ud83d", " " * 299, " " * 301, "x" * 70, "_", "\\", "{", "}", "|", "/",
    "1\ufe0f\u20e3 ", "2\u20e3", "3\ufe0f\u20e3", "①", "② ", "❸ ", "။ ", "။", "።", "‼", "⁉ ", "։ ",
    "N/A", "n/a", "Supporter: ", "\nSeeker (softly):", "[Question]", "Strategy: ", "```json\n", "```", "Hi, ",
    "goodbye", "bye, ", '{"end": true}', "YES", "no", "<|im_end|>", "{{", "%}",
])  # fmt: skip
TEXTS = st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=200)

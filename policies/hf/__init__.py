"""The engine of the `transformers` policy.

Read in this order: `sources` (what a model's name means), `loading` (weights into memory),
`prompts` (messages into tokens), `answers` (one growing answer), `sampling`, `cache` and `prefixes`
(keys and values), `causal` and `seq2seq` (the two loops), `engine` (the thread, and who shares it).
Only `sources` and `engine` may be imported without torch.
"""

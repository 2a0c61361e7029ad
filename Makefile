# chalkgrad: `make` alone lists what there is.
#
#   make demo PYTHON=python3.12      another interpreter (3.11 or newer)
#   make test TORCH="torch==2.13.0"  another PyTorch; where pip would choose a CUDA build and you do
#                                    not want it, point PIP_EXTRA_INDEX_URL at PyTorch's CPU wheels

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
JOBS   ?= auto
PY     := $(VENV)/bin/python
# -qq leaves pip its errors and no more; what is being installed is said here instead.
PIP    := $(PY) -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo gallery test lint bench clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo ## derive, verify, check a derivation, train on digits; writes demo/
	@$(PY) examples/demo.py

gallery: $(VENV)/.demo ## every built-in layer as a web page; writes gallery/
	@$(PY) -m chalkgrad gallery

test: $(VENV)/.test ## every test, with PyTorch and JAX as oracles, and branch coverage
	@rm -f .coverage .coverage.*
	@status=0; $(PY) -m pytest -n $(JOBS) --maxprocesses=8 --dist loadgroup -q --cov --cov-report= || status=$$?; \
	$(PY) -m coverage report --sort=cover && $(PY) .ci/branch_coverage.py && exit $$status

lint: $(VENV)/.lint ## ruff, mypy and the import contracts
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache --no-logo

bench: $(VENV)/.demo ## the figures that the README quotes, measured here
	@$(PY) benchmarks/import_time.py
	@$(PY) benchmarks/derive.py

clean: ## remove the environment, caches and the demo's output
	rm -rf $(VENV) demo gallery dist build .coverage .coverage.* .hypothesis
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say what an environment holds, so that a second run installs nothing.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "chalkgrad needs Python 3.11 or newer, and '$(PYTHON)' is" \
	       "$$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name a newer one: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating the environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed; Debian and Ubuntu keep it in the package python3-venv." >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "Installing chalkgrad with NumPy, scikit-learn, safetensors and matplotlib (once)"
	@$(PIP) -e ".[train]"
	@touch $@

$(VENV)/.lint: $(VENV)/.made pyproject.toml
	@echo "Installing ruff, mypy and import-linter (once)"
	@$(PIP) -e ".[train,dev]"
	@touch $@

# PyTorch goes first and pinned: otherwise another requirement could draw in a different build of it.
$(VENV)/.test: $(VENV)/.made pyproject.toml
	@echo "Installing $(TORCH), JAX and the test tools (once; some minutes)"
	@$(PIP) "$(TORCH)"
	@$(PIP) jax jaxlib
	@$(PIP) -e ".[train,test,dev]"
	@touch $@ $(VENV)/.demo $(VENV)/.lint

# Two commands: `make demo` shows the agent at work on an embedded node, `make test` runs all
# checks. Both set up what they need in .venv first; a second run starts at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
OLD := .venv-debian12

.PHONY: help demo test lint types unit older chaos soak bench format docs test-debian12 clean

help:
	@echo "make demo           the agent at work on an embedded node (half a minute)"
	@echo "make test           format, lint, types, tests with coverage, client on old libraries"
	@echo "make chaos          kill the agent 1,000 times and see that nothing is lost (KILLS, SEED)"
	@echo "make soak           ten minutes of drift on 200 guests (SECONDS, GUESTS, SEED)"
	@echo "make bench          what the journal costs on this disk"
	@echo "make docs           write anew what docs/ takes from the code"
	@echo "make format         put the code in shape"
	@echo "make test-debian12  the tests on the libraries that Debian 12 ships"
	@echo "make clean          forget everything that was set up"

demo: $(READY)
	@$(BIN)/felhom-agent demo

test: lint types unit older

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest --cov --cov-report=term

# The client once more, on the libraries that Debian 12 ships.
older: $(OLD)/ready
	$(OLD)/bin/pytest -p no:cacheprovider tests/proxmox

# Long runs; `make test` has a short form of each.
KILLS := 1000
SECONDS := 600
GUESTS := 200
SEED :=

chaos: $(READY)
	$(BIN)/python -m tests.chaos.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

soak: $(READY)
	$(BIN)/python -m tests.soak.soak --seconds $(SECONDS) --guests $(GUESTS) $(if $(SEED),--seed $(SEED))

bench: $(READY)
	$(BIN)/python -m benchmarks.journal

docs: $(READY)
	$(BIN)/python tools/docs.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# python3-venv is a package of its own on Debian.
define need_venv
@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -qq -y python3-venv; \
	else echo "python3-venv is missing; run: sudo apt install python3-venv" >&2; exit 1; fi; }
endef

$(READY): requirements-dev.txt pyproject.toml
	$(need_venv)
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(OLD)/ready: requirements-debian12.txt pyproject.toml
	$(need_venv)
	@echo "Setting up $(OLD) ..."
	@$(PYTHON) -m venv $(OLD)
	@$(OLD)/bin/pip install --quiet --disable-pip-version-check -r requirements-debian12.txt
	@$(OLD)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-debian12: $(OLD)/ready
	$(OLD)/bin/pytest -p no:cacheprovider

clean:
	rm -rf $(VENV) $(OLD) build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis ./*.egg-info

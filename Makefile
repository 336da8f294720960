# Two commands: `make demo` shows the agent at work on an embedded node, `make test` runs all
# checks. Both set up what they need in .venv first; a second run starts at once.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
OLD := .venv-debian12
SITE := .venv-docs

.PHONY: help demo test lint types unit older chaos soak fuzz mutants bench e2e deb install uninstall
.PHONY: format docs docs-site screenshots minutes
.PHONY: test-debian12 clean demo-hub browser
.PHONY: shell pages pythons repo release-check coverage

help:
	@echo "make demo           the agent at work on an embedded node (a quarter of a minute)"
	@echo "make demo-hub       a hub, two agents, two nodes (two minutes; KEEP=yes: goes on until Ctrl-C)"
	@echo "make test           format, lint, types, tests, client on old libraries"
	@echo "make coverage       the tests once more, and which branches none of them takes"
	@echo "make chaos          kill the agent 1,000 times and see that nothing is lost (KILLS, SEED)"
	@echo "make soak           twice ten minutes of drift on 200 guests (SECONDS, GUESTS, SEED)"
	@echo "make fuzz           a million odd inputs to all that reads what others write (INPUTS, SEED)"
	@echo "make mutants        break the seam, one place at a time, and see that tests mind"
	@echo "make pythons        the tests with each Python that is at hand (PYTHONS)"
	@echo "make deb            the Debian packages, into dist/"
	@echo "make repo           an apt repository of them, under dist/repo (KEY=FINGERPRINT signs it)"
	@echo "make release-check  is this tree a release? Packages, checksums, a bill of materials"
	@echo "make e2e            the package in a booted Debian 12 and 13 (needs root)"
	@echo "make minutes        the tests that wait for a hub's minute"
	@echo "make install        put it in place without the package (DESTDIR, PREFIX); make uninstall"
	@echo "make bench          what all of it costs, beside other tools (a quarter of an hour; PARTS)"
	@echo "make docs           rewrite what docs/ takes from the code"
	@echo "make docs-site      a site of all pages, under build/site"
	@echo "make screenshots    the pictures of the README, as SVG"
	@echo "make format         put the code in shape"
	@echo "make test-debian12  the tests on the libraries that Debian 12 ships"
	@echo "make clean          forget everything that was set up"

demo: $(READY)
	@$(BIN)/felhom-agent demo

demo-hub: $(READY)
	@$(BIN)/felhom-agent demohub $(if $(filter yes,$(KEEP)),--keep)

test: lint types unit older

lint: $(READY) shell
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config pyproject.toml

# Every script that git has, by its first line, and the completion, which has none.
shell:
	@if command -v shellcheck > /dev/null; then \
		git ls-files -z | xargs -0 awk \
			'FNR == 1 && /^#!.*[\/ ](ba)?sh( |$$)/ { print FILENAME } { nextfile }' | \
			xargs shellcheck && \
		shellcheck --shell=bash --severity=warning packaging/completion/felhom-agent; \
	else echo "shellcheck is not here: no script is looked at"; fi

# Quick, so that it may run before each commit.
pages: $(READY)
	$(BIN)/pytest tests/test_links.py tests/test_docs.py

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest -n auto --dist worksteal

# Twice as long as the tests alone, so not each time: 97 % of the branches at least.
coverage: $(READY)
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term

# The client once more, on the libraries that Debian 12 ships.
older: $(OLD)/ready
	$(OLD)/bin/pytest -p no:cacheprovider tests/proxmox

# The tests with each Python that Debian or a developer may have; one that is not here is a line.
PYTHONS := 3.11 3.12 3.13

pythons:
	@tools/pythons $(PYTHONS)

# Long runs; `make test` has a short form of each.
KILLS := 1000
SECONDS := 600
GUESTS := 200
INPUTS := 1000000
SEED :=

chaos: $(READY)
	$(BIN)/python -m tests.chaos.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

soak: $(READY)
	$(BIN)/python -m tests.soak.soak --seconds $(SECONDS) --guests $(GUESTS) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.soak.soak --hints --seconds $(SECONDS) --guests $(GUESTS) $(if $(SEED),--seed $(SEED))

fuzz: $(READY)
	$(BIN)/python -m tests.hostile.fuzz --inputs $(INPUTS) $(if $(SEED),--seed $(SEED))

# Which faults the tests would not see (hours for all; FILES, TESTS, SAMPLE for less).
FILES := $(wildcard felhom_agent/planning/[a-z]*.py) \
	$(addprefix felhom_agent/reconcile/,gate.py holds.py recovery.py outcomes.py backoff.py) \
	$(addprefix felhom_agent/daemon/,scheduler.py record.py places.py waiting.py startorder.py)
TESTS := $(addprefix tests/,planning reconcile desired options scenarios daemon cli/test_plan.py \
	cli/test_apply.py cli/test_explain.py authz/test_check.py)
SAMPLE := 0

mutants: $(READY)
	$(BIN)/python -m tools.mutants $(FILES) --tests $(TESTS) --sample $(SAMPLE) \
		--seed $(or $(SEED),0) --jobs 2

# All parts: queue,journal,planner,fleet,process,peers. PAGE=yes rewrites docs/performance.md, too.
# peers installs the other tools under build/peers/, once.
PARTS :=
PAGE :=

bench: $(READY)
	$(BIN)/python -m benchmarks $(if $(PARTS),--parts $(PARTS)) $(if $(PAGE),--markdown)

# What builds the package, and what boots a Debian; both are Debian's own.
BUILD_DEPS := debhelper dh-python lintian pybuild-plugin-pyproject python3-all python3-setuptools
BOOT_DEPS := mmdebstrap systemd-container

deb:
	@$(call need_packages,$(BUILD_DEPS))
	@packaging/build-deb

KEY :=

repo: deb
	@KEY="$(KEY)" packaging/make-repo

release-check: $(READY)
	@$(call need_packages,$(BUILD_DEPS))
	@$(BIN)/python -m tools.releasecheck

e2e: $(READY)
	@$(call need_packages,$(BUILD_DEPS) $(BOOT_DEPS))
	$(BIN)/pytest -m e2e -rs tests/e2e

# The hub's page in a real browser.
browser: $(READY)
	@$(call need_packages,chromium chromium-driver)
	$(BIN)/pytest -m browser -rs tests/hub

# A hub is asked once a minute at the most, and these tests wait for that.
minutes: $(READY)
	$(BIN)/pytest -m minute tests/hub tests/cli

install:
	@packaging/install-files install

uninstall:
	@packaging/install-files uninstall

docs: $(READY)
	$(BIN)/python -m tools.docs

docs-site: $(SITE)/ready
	@$(SITE)/bin/python -m tools.site build/site

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Debian packages that a target needs: installed by root, named to everybody else.
define need_packages
@missing=$$(dpkg-query -W -f '$${Package} $${Status}\n' $(1) 2>/dev/null | \
	awk '/ installed$$/ { print $$1 }' | sort | comm -13 - <(printf '%s\n' $(1) | sort)); \
if [ -z "$$missing" ]; then :; \
elif [ "$$(id -u)" = 0 ]; then \
	echo "Installing" $$missing "..."; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
		--no-install-recommends $$missing > /dev/null; \
else echo "Not installed:" $$missing "(sudo apt install" $$missing")" >&2; fi
endef

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
	@$(call need_packages,libsystemd-dev pkg-config gcc)
	@$(BIN)/pip install --quiet --disable-pip-version-check systemd-python==235 2>/dev/null || \
		echo "Without libsystemd-dev, pkg-config and gcc a few tests of sd_notify are skipped."
	@touch $@

$(OLD)/ready: requirements-debian12.txt pyproject.toml
	$(need_venv)
	@echo "Setting up $(OLD) ..."
	@$(PYTHON) -m venv $(OLD)
	@$(OLD)/bin/pip install --quiet --disable-pip-version-check -r requirements-debian12.txt
	@$(OLD)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# Sphinx alone: no page needs what the agent needs.
$(SITE)/ready: requirements-docs.txt
	$(need_venv)
	@echo "Setting up $(SITE) ..."
	@$(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

test-debian12: $(OLD)/ready
	$(OLD)/bin/pytest -p no:cacheprovider

clean:
	rm -rf $(VENV) $(OLD) $(SITE) .venv-python* build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis ./*.egg-info

# The pictures of the README: what a person sees on a terminal.
screenshots: $(READY)
	$(BIN)/python -m tools.screenshots

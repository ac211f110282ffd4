# The one entry for people and CI. `make` lists the targets.
#
# Needs Python 3.11 or newer and a package index, nothing else; no root. Everything is installed into .venv from the
# lock files, with hashes. Written for GNU make 3.81, which is what macOS ships.

VENV := .venv
PY := $(VENV)/bin/python
ROUNDS ?= 20
EFFORT ?= 1
ARGS ?=

# Some images set it: then each process compiles all that it imports, 1 s of CPU for a daemon and half of the suite.
unexport PYTHONDONTWRITEBYTECODE

# CI counts a skipped test as a failed one.
ifeq ($(CI),true)
NO_SKIPS := -p tests.support.no_skips
endif

.DEFAULT_GOAL := help
.PHONY: help run demo test coverage check format prove bench conformance lock install install-dev clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## start the recording proxy and the MCP server (ARGS="--proxy 127.0.0.1:9000" passes options)
	@exec $(VENV)/bin/wiretape serve $(ARGS)

demo: install ## kill a recording proxy in the middle of real traffic, recover, print the account
	@exec $(VENV)/bin/wiretape demo $(ARGS)

test: install-dev ## the whole suite (ARGS="-k writer" passes options)
	$(PY) -m pytest -n auto $(NO_SKIPS) $(ARGS)

conformance: install-dev ## the MCP conformance suite, by npx, on our registration layer in both eras
	$(PY) -m tests.mcpserver.conformance $(ARGS)

coverage: install-dev ## the whole suite, branch coverage measured; it takes longer
	$(PY) -m pytest -n auto --cov --cov-report=term:skip-covered $(NO_SKIPS) $(ARGS)

check: install-dev ## lint, format, types, layers, file sizes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	@find src tests harness bench prove -name .peers -prune -o -name '*.py' -print0 | xargs -0 awk \
		'FNR == 601 { print FILENAME ": more than 600 lines; is it more than one thing?"; bad = 1 } END { exit bad }'

format: install-dev ## let ruff lay out the code and mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

prove: install-dev ## inject every fault there is and account for what is lost (ROUNDS=20 of SIGKILL, EFFORT=1 for the rest)
	$(PY) -m prove --rounds $(ROUNDS) --effort $(EFFORT) $(ARGS)

bench: install-dev ## wiretape against mitmproxy, mockttp, nginx and an older checkout (QUICK=1, ARGS="--help")
	$(PY) -m bench $(if $(QUICK),--quick) $(ARGS)

lock: $(VENV)/.lock-tool ## pin the newest releases that pyproject.toml allows, with hashes
	$(COMPILE) --group build -o requirements.lock
	$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock
	$(VENV)/.lock-tool/bin/uv pip compile bench/peers/mitmproxy.in $(COMPILE_OPTIONS) -o bench/peers/mitmproxy.lock
	$(VENV)/.lock-tool/bin/uv pip compile bench/peers/duckdb.in $(COMPILE_OPTIONS) -o bench/peers/duckdb.lock
	@! grep -n '://' requirements.lock requirements-dev.lock bench/peers/mitmproxy.lock bench/peers/duckdb.lock

clean: ## remove caches, coverage and build output
	rm -rf .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find src tests harness bench prove -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## also remove .venv and the benchmark's peers
	rm -rf $(VENV) bench/.peers

# ------------------------------------------------------------------------------------------------- installation

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

# pip shows its progress to a person and is quiet otherwise.
PIP = $(PY) -m pip install --disable-pip-version-check $$([ -t 1 ] || echo --quiet --quiet)

# A stamp is newer than the lock it was made from: installing again is one comparison of times.
$(VENV)/.installed: requirements.lock pyproject.toml | $(PY)
	@echo "wiretape: installing into $(VENV), once" >&2
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-index --no-deps --no-build-isolation --editable .
	@$(PY) -m compileall -q src
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "wiretape: installing what tests and checks need, once" >&2
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# A name on PATH may be a stub that only complains, so each candidate has to run.
$(PY):
	@set -e; found=; novenv=; \
	for name in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python; do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
		if "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$name; break; fi; \
		novenv=$$name; \
	done; \
	if [ -z "$$found" ] && [ -n "$$novenv" ]; then \
		echo "wiretape: $$novenv has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	if [ -z "$$found" ]; then \
		echo "wiretape: needs Python 3.11 or newer; found $$(python3 --version 2>/dev/null || echo none)." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; \
	fi; \
	"$$found" -m venv --clear $(VENV)

# Extras stay in the lock: where only the package without them is pinned, pip looks for the newest release that has the
# extra, and refuses it for want of a hash as soon as there is one newer than the lock.
COMPILE_OPTIONS = --universal --python-version 3.11 --generate-hashes --upgrade --no-header --no-emit-index-url --quiet \
	--no-strip-extras
COMPILE = $(VENV)/.lock-tool/bin/uv pip compile pyproject.toml $(COMPILE_OPTIONS)

# The resolver has a place of its own: it is no part of what it pins.
$(VENV)/.lock-tool: | $(PY)
	@$(PY) -m venv $@
	@$@/bin/python -m pip install --disable-pip-version-check --quiet --quiet 'uv>=0.9,<1'

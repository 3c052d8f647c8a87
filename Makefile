# The two commands of README.md, `make demo` and `make test`, do all their own set-up.

PYTHON ?= python3
# Test processes: half of its time the suite waits, for mounts and clocks.
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint system-demo system-test
.DELETE_ON_ERROR:

demo: system-demo $(VENV)/.demo
	@exec $(BIN)/pictofs demo

test: system-test $(VENV)/.test lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

# A stamp for each set of packages; installed anew when what is wanted has changed.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --use-pep517 --disable-pip-version-check -e '.[emulator]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --use-pep517 --disable-pip-version-check -e '.[emulator,test]'
	@touch $@ $(VENV)/.demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed as $(PYTHON); name another: make PYTHON=python3.11" >&2; exit 1; }
	@.ci/packages --venv "$(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

system-demo:
	@.ci/packages fuse

system-test:
	@.ci/packages fuse libfuse2 unzip zip 7z jar rsync
	@.ci/packages chromium man mandoc systemd

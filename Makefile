# make up      run the whole product on one URL
# make test    run the tests
# make check   format, lint, types, import rules
# make bench   posts per second, latency and CPU, with wrk
# make bench-peers  the same beside what people write in Python and Node
# make torture  kill -9, power cuts and failing disks, for long (ARGS=--short: ten minutes)
# make lock    pin the dependencies anew (needs uv)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: up install test check bench bench-peers torture format lock clean

up: $(VENV)/.run
	$(BIN)/formflow up $(ARGS)

install: $(VENV)/.dev

test: $(VENV)/.dev $(VENV)/.clients
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.run
	$(BIN)/python -m loadtests $(ARGS)

bench-peers: $(VENV)/.run
	$(BIN)/python -m loadtests.peers install
	$(BIN)/python -m loadtests --peers $(ARGS)

torture: $(VENV)/.dev
	$(BIN)/python -m tests.faults torture $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command 'make lock' --group build pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command 'make lock' --group build --group test --group check \
		-c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV)

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

# An editable package is not compiled as it is installed. Where PYTHONDONTWRITEBYTECODE is set, as in
# many images, each process would compile it as it starts: 1.3 s instead of 0.9 s for a backend.
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/.python
	$(PIP) --require-hashes --no-deps -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q contracts gateway backend formflow loadtests
	touch $@

# The JavaScript clients of the tests; without npm those tests skip.
$(VENV)/.clients: tests/clients/package-lock.json | $(VENV)/.python
	! command -v npm >/dev/null || npm ci --prefix tests/clients --no-audit --no-fund --silent
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(PIP) --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m compileall -q tests
	touch $@

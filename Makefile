# The two commands of the README. PYTHON chooses the interpreter: make audit PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin

# tests at a time: make test JOBS=8; each with one thread, lest they wait for each other; what is
# compiled of them is kept, as compiling them takes as long as importing all that they need
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses $(JOBS) --dist worksteal --durations=10

.PHONY: audit test fast coverage touched check browser screenshots docs soak clean

audit: .venv/installed
	$(BIN)/clip-audit run quick

test: .venv/installed-dev
	$(PYTEST)

# while writing: what takes little time of every module
fast: .venv/installed-dev
	$(PYTEST) -m 'not slow'

# how much of audit/ 'make fast' runs; less than the floor is an error
coverage: .venv/installed-dev
	$(PYTEST) -m 'not slow' --cov=audit --cov-report=term:skip-covered --cov-fail-under=84

# does 'make fast' run something of every module?
touched: .venv/installed-dev
	PYTHONPATH=tests $(BIN)/pytest -p touched -m 'not slow'

# by hand, some hours: kills, damaged files, pictures and models; prints failures, ends with 1 if any
soak: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py kills --count 200
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py pictures --count 10000
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py files --minutes 30
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py checkpoints --minutes 30

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Debian's Chromium, in which the dashboard is tested; without it those tests are skipped
browser:
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && apt-get install --yes --no-install-recommends chromium; } \
	  || echo "No Chromium, so the tests in a browser will be skipped: 'sudo apt install chromium'."

# the pictures of the dashboard in docs/
screenshots: .venv/installed-dev
	$(BIN)/pytest tests/dashboards/test_dashboard_browser.py --screenshots docs/screenshots

# the docs site, in build/site; a link that leads nowhere is an error
docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/installed

.venv/installed-docs: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv build dist *.egg-info

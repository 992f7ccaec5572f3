# setup: the environment    demo: one Panda pose, 16 answers    check: lint and types    test    bench    clean
# docs: the site, in build/site
# peers: an environment with other people's solvers, for `.venv-peers/bin/python benchmarks/compare.py --peers`
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv-peers/bin

.PHONY: setup demo check test bench docs peers clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

# A second call does nothing until one of these files changes.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/python examples/demo.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest -n 2 -q

bench: setup
	$(BIN)/python benchmarks/compare.py

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

peers: .venv-peers/.installed

.venv-peers/.installed: pyproject.toml benchmarks/peers.txt
	test -x $(PEERS)/python || $(PYTHON) -m venv .venv-peers
	$(PEERS)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers.txt -e .
	touch $@

clean:
	rm -rf .venv .venv-peers build dist demo.png demo.gif .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything works from a fresh clone with Python 3.11 to 3.13 and a C++ compiler.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help setup demo muon test lint bench peers slow clean requirements

help:
	@echo "make demo   simulate, train, compile to Verilog, verify and report"
	@echo "make muon   the muon study as docs/studies/muon.md shows it (two hours; run again to go on)"
	@echo "make test   all quick tests"
	@echo "make lint   ruff and basedpyright"
	@echo "make slow   the slow tests too"
	@echo "make peers  install the peers that the benchmarks compare with"
	@echo "make bench  the benchmarks, and the validation figure of the RPC simulation"

# The stamp depends on the pinned requirements: a changed file installs again.
$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || \
		{ echo "hairtrigger needs Python 3.11 to 3.13; set PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.ready

demo: setup
	$(BIN)/hairtrigger run muon --preset demo

muon: setup
	$(BIN)/hairtrigger run muon --preset paper --seed 3
	$(BIN)/hairtrigger compare muon --preset demo --seeds 3
	$(BIN)/hairtrigger sweep muon --preset demo --trials 8
	$(BIN)/hairtrigger baseline muon --preset demo
	$(BIN)/hairtrigger report runs/muon-paper-3 --document docs/studies/muon.md \
		--with runs/compare-muon-demo-1 --with runs/sweep-muon-demo-1 \
		--with runs/baseline-muon-demo-1

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# The peers of the benchmarks, in an environment of their own: their needs must not be ours.
.venv-peers/.ready: benchmarks/peers-requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r benchmarks/peers-requirements.txt
	@touch $@

peers: .venv-peers/.ready

bench: setup
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# Needs uv; the pins are for all of Python 3.11 to 3.13 and name no package index.
requirements:
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--all-extras pyproject.toml -o requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

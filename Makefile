# Everything works from a fresh clone with Python 3.11 to 3.13 and a C++ compiler.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help setup demo muon strips tau3mu supernova test lint bench peers hepinfo slow clean requirements

help:
	@echo "make demo   simulate, train, compile to Verilog, verify and report"
	@echo "make muon   the muon study as docs/studies/muon.md shows it (three hours; run again to go on)"
	@echo "make strips the strips study as docs/studies/strips.md shows it (an hour or two; run again to go on)"
	@echo "make tau3mu the tau3mu study as docs/studies/tau3mu.md shows it (hours; run again to go on)"
	@echo "make supernova  the supernova study at its full size (hours; run again to go on)"
	@echo "make test   all quick tests"
	@echo "make lint   ruff and basedpyright"
	@echo "make slow   the slow tests too"
	@echo "make peers  install the peers that the benchmarks compare with (make hepinfo: that of coins)"
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
	for study in muon_4_rows muon_3_muons; do \
		$(BIN)/hairtrigger run $$study --preset demo && \
		$(BIN)/hairtrigger report runs/$$study-demo-1 --document docs/studies/$$study.md || exit 1; \
	done

strips: setup
	$(BIN)/hairtrigger run strips --preset paper
	$(BIN)/hairtrigger report runs/strips-paper-1 --document docs/studies/strips.md \
		--with runs/strips-paper-1
	$(BIN)/hairtrigger bench runs/strips-paper-1 --on cpu,gpu,fpga --seconds 1.5 \
		--batches 1,16,256,4096,65536 --out runs/bench-strips \
		--document docs/benchmarks/strips_bench.md

tau3mu: setup
	$(BIN)/hairtrigger run tau3mu --preset paper --clock 200MHz
	$(BIN)/hairtrigger report runs/tau3mu-paper-1 --document docs/studies/tau3mu.md \
		--with runs/tau3mu-paper-1

supernova: setup
	$(BIN)/hairtrigger run supernova --preset paper --clock 200MHz
	$(BIN)/hairtrigger report runs/supernova-paper-1 --document docs/studies/supernova.md \
		--with runs/supernova-paper-1

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

.venv-hepinfo/.ready: benchmarks/hepinfo-requirements.txt
	$(PYTHON) -m venv .venv-hepinfo
	.venv-hepinfo/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r benchmarks/hepinfo-requirements.txt
	@touch $@

hepinfo: .venv-hepinfo/.ready

# Those that need nothing but this environment; the rest say what they need (--help).
BENCHMARKS := coins compile_time fold rpc_rate rpc_validation strips_validation tau3mu_chip

bench: setup
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

# Needs uv; the pins are for all of Python 3.11 to 3.13 and name no package index. All extras but
# tensorrt, which is gigabytes for machines with a GPU.
EXTRAS := train sweep root hdf5 dask hls explain dev
requirements:
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		$(EXTRAS:%=--extra %) pyproject.toml -o requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

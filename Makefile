# make reproduce [PRESET=cpu]: from a fresh clone to tables and figures. make test: all tests.
PYTHON ?= python3
PRESET ?= quick
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
BIN := .venv/bin
BENCHMARK_DATA := adult imdb cifar10
PRESETS := $(filter-out defaults claims,$(notdir $(basename $(wildcard config/*.yaml))))
CONFIG := --configfile config/$(PRESET).yaml
WORKFLOW := results/$(PRESET)/workflow.html

.PHONY: reproduce experiments report test lint everything benchmark audits policies peers gpu readme ui lock clean

reproduce: .venv/installed
	@test -f config/$(PRESET).yaml || { echo "config/$(PRESET).yaml: not found; presets are: $(PRESETS)"; exit 1; }
	$(BIN)/python -m snakemake --cores $(CORES) $(CONFIG) --report $(WORKFLOW) --report-after-run
	$(BIN)/python -m datagradient orchestration --results results/$(PRESET) --out paper_tables/$(PRESET)
	@echo
	@echo "Report   results/$(PRESET)/report.html: begin here, in a browser"
	@echo "Tables   paper_tables/$(PRESET)/*.md (and .csv, .tex)"
	@echo "Figures  figures/$(PRESET)/*.png (and .pdf)"
	@echo "Results  results/$(PRESET)/*.csv"
	@echo "Workflow results/$(PRESET)/workflow.html: Snakemake's report on its jobs"
	@echo "MLflow   results/mlflow.db: run 'make ui', which says what to open"

# Fidelity, sensitivity, trusted labels and streaming, which take about as long as the run itself, and the page with them.
experiments: .venv/installed
	$(BIN)/python -m snakemake all experiments --cores $(CORES) $(CONFIG) --report $(WORKFLOW) --report-after-run

# The page from the tables, figures and results that are there, be they committed ones; nothing is run.
report: .venv/installed
	$(BIN)/python -m datagradient report --results results/$(PRESET) \
		--tables $(wildcard paper_tables/$(PRESET)/*.csv) --figures $(wildcard figures/$(PRESET)/*.png) \
		--csv $(wildcard results/$(PRESET)/*.csv) --out results/$(PRESET)/report.html
	@echo "results/$(PRESET)/report.html: open it in a browser"

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder  # two processes of one thread

lint: .venv/installed
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m mypy

# Cost and quality of solvers on the real data, on an otherwise idle machine. Most of the time, about an hour, is spent
# on training models on random halves.
benchmark: .venv/installed
	$(BIN)/python -m snakemake --cores $(CORES) \
		$(foreach s,0 1,$(foreach d,$(BENCHMARK_DATA),$(foreach c,0 0.2,\
			results/cpu/$(d)/prepared/seed-$(s)/noise-$(c)/labels.npz)) \
			results/cpu/cifar10/prepared/seed-$(s)/noise-worse_label/labels.npz) \
		--configfile config/cpu.yaml --quiet rules
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/solvers.py cpu --halves
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/solvers.py cpu
	$(BIN)/python benchmarks/choose.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rates.py cpu
	$(BIN)/python -m datagradient table solvers rates --results results/benchmarks --out paper_tables/benchmarks
	$(BIN)/python -m datagradient figure solvers --results results/benchmarks --out figures/benchmarks

# Audits of files whose wrong labels are known, about an hour; `make readme` shows them.
audits: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/audits.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/checking.py

# The tests, all of these and all presets, one after the other; .venv/bin/python tools/everything.py --plan says how long
# that takes.
everything: .venv/installed
	$(BIN)/python tools/everything.py

# Candidates for removal and relabelling on development seeds; what was measured stays when it is interrupted. The script
# loads the data itself.
policies: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/policies.py confirm
	$(BIN)/python -m datagradient table policies --results results/benchmarks --out paper_tables/benchmarks

# The same networks scored by published libraries, which need a separate environment. Run `make benchmark` first.
peers: .venv-peers/installed
	OMP_NUM_THREADS=1 .venv-peers/bin/python -W ignore benchmarks/peers.py cpu
	$(BIN)/python -m datagradient table peers --results results/benchmarks --out paper_tables/benchmarks

# Cost of influence on a GPU, with CIFAR-10 at its full size.
gpu: .venv/installed
	$(BIN)/python benchmarks/gpu.py

.venv-peers/installed: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# The tables in README and docs come from the committed results; paper_tables/verdict.* is that of the preset cpu.
readme: .venv/installed
	$(BIN)/python -m datagradient readme --files README.md docs/*.md --results results
	cp paper_tables/cpu/verdict.csv paper_tables/cpu/verdict.md paper_tables/cpu/verdict.tex paper_tables/

ui: .venv/installed
	@$(BIN)/python -m datagradient track --views
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/python -m mlflow ui --workers 1 --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///results/mlflow.db}"

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; say: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Update the lock, and the conda environment that is made from it.
lock: .venv/installed
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/python tools/lock.py

# Logs are kept with the results: they hold the jobs' timings, from which tables are made.
clean:
	rm -rf .venv .venv-peers .snakemake

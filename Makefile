# make reproduce [PRESET=cpu]: from a fresh clone to tables and figures. make test: all tests.
PYTHON ?= python3
PRESET ?= quick
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
BIN := .venv/bin
PRESETS := $(filter-out defaults,$(notdir $(basename $(wildcard config/*.yaml))))
CONFIG := --configfile config/$(PRESET).yaml

.PHONY: reproduce report test lint ui lock clean

reproduce: .venv/installed
	@test -f config/$(PRESET).yaml || { echo "config/$(PRESET).yaml: not found; presets are: $(PRESETS)"; exit 1; }
	$(BIN)/snakemake --cores $(CORES) $(CONFIG) --quiet rules
	$(MAKE) --no-print-directory report
	@echo
	@echo "Tables   paper_tables/$(PRESET)/*.md (and .csv, .tex)"
	@echo "Figures  figures/$(PRESET)/*.png (and .pdf)"
	@echo "Results  results/$(PRESET)/*.csv"
	@echo "Report   results/$(PRESET)/report.html: open it in a browser"
	@echo "MLflow   results/mlflow.db: run 'make ui', open http://127.0.0.1:5000, choose 'Model training'"

report: .venv/installed
	$(BIN)/snakemake --cores 1 $(CONFIG) --report results/$(PRESET)/report.html

test: .venv/installed
	$(BIN)/python -m pytest -n 2

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

ui: .venv/installed
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --workers 1 --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///results/mlflow.db}"

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; say: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Renew the lock and the conda environment that is made from it.
lock: .venv/installed
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/python tools/lock.py

clean:
	rm -rf .venv .snakemake logs

# make demo | test | check | bench | venv | clean.   PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo-digits
BENCHMARKS := $(sort $(wildcard benchmarks/*.py))

.PHONY: demo test check format bench venv clean

venv: $(STAMP)

# Done again only when what is to be installed changes; a stopped installation leaves no stamp.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("genloom needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The demo's own folder is replaced every time; a run of yours never is.
demo: $(STAMP)
	rm -rf $(DEMO)
	$(BIN)/genloom train digits --recipe digits-flow --out $(DEMO)
	$(BIN)/genloom sample $(DEMO) -n 64 --grid --seed 1 -o $(DEMO)/demo
	$(BIN)/genloom evaluate $(DEMO)
	@echo
	@echo "Samples: $(DEMO)/demo      Report: $(DEMO)/report.html (open it in a browser)"
	@echo "Next, try:"
	@echo "  $(BIN)/genloom sample $(DEMO) -n 16 --label 3 --grid -o threes"
	@echo "  $(BIN)/genloom train PATH/TO/YOUR/IMAGES --model flow --budget 10m"
	@echo "  $(BIN)/genloom list recipes"

# A process a core with a thread each; the tests of a file stay together, as they share what was trained for them.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	@test -n "$(BENCHMARKS)" || { echo "there are no benchmarks yet"; exit 1; }
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis $(DEMO)
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# make demo    the keyword-spotting demo          make test    all tests, TEST_PROCESSES (2) at a time
# make test-boards   every emulated board against the native process, a line each
# make fuzz    bad input for every decoder and state machine, FUZZ_SECONDS (600) or FUZZ_RUNS inputs long
# make lint    what CI checks before the tests    make bench   every figure, as JSON in build/bench
# All of them set up what is missing first: system packages (apt, needs root), virtual environment, Python packages.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
C_FILES = $(shell git ls-files '*.c' '*.h' '*.cpp')

export TF_CPP_MIN_LOG_LEVEL := 3
export TF_ENABLE_ONEDNN_OPTS := 0

.PHONY: demo test test-boards fuzz lint format bench setup packages clean

demo: setup
	$(BIN)/cutlayer demo kws

test: setup
	$(BIN)/python -m pytest -n $(or $(TEST_PROCESSES),2) --dist loadfile $(PYTEST_ARGS)

test-boards: setup
	$(BIN)/python -m pytest -q tests/emulation/test_every_board.py

fuzz: setup
	@$(BIN)/python tests/support/fuzz_campaign.py \
		$(if $(FUZZ_RUNS),--runs $(FUZZ_RUNS),--seconds $(or $(FUZZ_SECONDS),600))

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(C_FILES)

bench: setup
	$(BIN)/cutlayer bench all --out build/bench

setup: $(VENV)/.cutlayer

packages:
	@boards/setup/system_packages.sh "$(PYTHON)"

$(VENV)/.cutlayer: pyproject.toml | packages
	@boards/setup/virtual_environment.sh "$(PYTHON)" "$(VENV)"
	@touch $@

clean:
	rm -rf build .pio $(VENV)

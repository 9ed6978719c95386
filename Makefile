# Every target makes its own virtual environment in .venv; PYTHON chooses the interpreter (3.10 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test test-upstream check format bench-speed bench-dreamer-speed bench-sokoban-levels bench-tasks bench-car-racing bench-doom bench-planning bench-learning bench-engine-transfer clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 22

install: $(STAMP)  ## Make .venv and install everything for development

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)  ## Learn CartPole from 400 real steps, dream it, train PPO in the dream (a minute)
	$(BIN)/imagine demo

test: $(STAMP)  ## Run the tests (two processes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-upstream: $(STAMP)  ## Run Stable-Baselines3's own tests on our classes
	OMP_NUM_THREADS=1 $(BIN)/python tests/upstream/run.py

check: $(STAMP)  ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-speed: $(STAMP)  ## Measure the speed of dreams, mbrl-lib beside them
	$(BIN)/python -m zoo.benchmarks.dream_speed

bench-dreamer-speed: $(STAMP)  ## Measure Dreamer's updates, sheeprl's beside them (and DREAMERV3_TORCH=checkout's)
	$(BIN)/python -m zoo.benchmarks.dreamer_speed $(if $(DREAMERV3_TORCH),--dreamerv3-torch $(DREAMERV3_TORCH))

bench-sokoban-levels: $(STAMP)  ## Measure the generator of Sokoban levels, gym-sokoban beside it
	$(BIN)/python -m zoo.benchmarks.sokoban_levels

bench-tasks: $(STAMP)  ## Measure steps/s of the tasks; envpool, jumanji and gym-sokoban beside Sokoban
	$(BIN)/python -m zoo.benchmarks.task_speed

bench-car-racing: $(STAMP)  ## Measure steps/s of CarRacing; Box2D (pip install swig, then .[box2d]) and envpool beside it
	$(BIN)/python -m zoo.benchmarks.car_racing_speed

bench-doom: $(STAMP)  ## Measure steps/s of Doom; ViZDoom and envpool beside it
	$(BIN)/python -m zoo.benchmarks.doom_speed

bench-planning: $(STAMP)  ## Measure Dyna-Q's planning, rl-blox beside it (and RL_INTRODUCTION=, NEURO_NAV=checkouts)
	$(BIN)/python -m zoo.benchmarks.planning_speed $(if $(RL_INTRODUCTION),--rl-introduction $(RL_INTRODUCTION)) \
		$(if $(NEURO_NAV),--neuro-nav $(NEURO_NAV))

bench-learning: $(STAMP)  ## Measure the real steps needed by every agent, as far as the results lack them (days)
	for script in real_steps dreamer_learning rssm_dreams rssm_fidelity dyna_learning; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m zoo.benchmarks.$$script || exit; done

bench-engine-transfer: $(STAMP)  ## Measure what PPO learns in our CarRacing and Doom and earns in Box2D and ViZDoom (hours)
	OMP_NUM_THREADS=1 $(BIN)/python -m zoo.benchmarks.engine_transfer

clean:  ## Remove .venv and caches
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache

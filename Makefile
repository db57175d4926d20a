# `make demo` and `make test` need only Python 3.11 or newer, pip and make.
PYTHON ?= python3
BIN := .venv/bin
RUNS := runs/demo
empty :=
space := $(empty) $(empty)
# Any name of a file, quoted for Hydra, which takes text in double quotes as it is, and then for the shell.
override_of = '$(subst ','\'',$(1)="$(subst ",\",$(2))")'
name = $(basename $(notdir $(subst $(space),_,$(model))))
# spacing=25 says the cell size [m] of a file that does not.
file = $(call override_of,real.path,$(model)) $(if $(spacing),real.spacing=$(spacing))

.PHONY: demo test slow browser notebooks dist docs bench gpu profile lock clean

# Installed again only when the lock or the packaging changes.
.venv/installed: requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Every stage leaves alone what it finds finished. `make demo model=PATH spacing=25` also tries a model of yours.
demo: .venv/installed
	$(BIN)/python -m data_gen data=demo
	$(BIN)/python train.py experiment=demo encoding=coarse run=$(RUNS)/coarse
	$(BIN)/python train.py experiment=demo encoding=source_map run=$(RUNS)/source_map
	$(BIN)/python evaluate.py run=$(RUNS)/source_map
	$(BIN)/python evaluate.py run=$(RUNS)/coarse
	$(BIN)/python invert.py inversion=lecture out=$(RUNS)/lecture
	$(BIN)/python invert.py inversion=gathers out=$(RUNS)/gathers_physics
	$(BIN)/python invert.py inversion=transmission out=$(RUNS)/transmission_physics
	$(BIN)/python invert.py inversion=transmission forward=surrogate run=$(RUNS)/coarse out=$(RUNS)/transmission_surrogate
ifdef model
	$(BIN)/python evaluate.py run=$(RUNS)/coarse $(file)
	$(BIN)/python invert.py inversion=file $(file) $(call override_of,out,$(RUNS)/file_$(name))
endif
	$(BIN)/python -m surrogate.report $(RUNS)
	@echo "Next: make demo model=PATH spacing=25   (a velocity model of yours: .npy, .npz or SEG-Y, cells of 25 m)"
	@echo "      $(BIN)/python train.py --help     (a surrogate of yours; the documentation starts at docs/index.md)"

test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What takes minutes, such as twenty kills of one generation.
slow: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

# Pages in headless Chromium (or the browser at $BROWSER); says so where there is none.
browser: .venv/installed
	$(BIN)/python -m pip install --quiet playwright
	$(BIN)/python -m pytest -m browser -rs

# Wheel and sdist, in `dist`, tried in new environments of each Python; pythons="python3.12" takes some.
dist: .venv/installed
	$(BIN)/python -m tests.try_distribution $(pythons)

# The tutorials, with their outputs; at most three minutes each.
notebooks: .venv/installed
	$(BIN)/python docs/tutorials/run.py

# The site, in build/docs. Any warning fails, such as a broken link or reference.
docs: .venv/installed
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs build/docs

# Peers need an environment of their own, and numbers are only good on an idle machine. Hours, in parts that resume:
# parts="solver training" takes some, and `python -m benchmarks.everything --list` says how long each took.
.venv-bench/installed: benchmarks/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -r benchmarks/requirements.txt -e .
	@touch $@

bench: .venv-bench/installed
	.venv-bench/bin/python -m benchmarks.everything $(if $(parts),--parts $(parts))

# All rows that need a GPU, in ten minutes; what is done is not done again. scale=0.1 tries it on a CPU.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu --folder runs/gpu --scale $(or $(scale),1)

# Where the time of a step of the solver goes, and that of a prediction; run=RUN takes another surrogate.
profile: .venv/installed
	$(BIN)/python -m benchmarks.profile
	$(BIN)/python -m benchmarks.profile_operator $(run)

# One lock for all platforms and Python versions, with hashes and no addresses. Needs uv.
lock:
	uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header pyproject.toml --extra dev -o requirements.lock

clean:
	rm -rf .venv .venv-bench data runs

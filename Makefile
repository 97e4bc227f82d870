# make serve   install into .venv and start the server on port 8766 with models that work offline
# make test    install with development tools and run every test
# make coverage   run pytest, and say which lines of the package it ran
# make lab     open the notebooks in JupyterLab
# make docs    build the docs site into build/site; its links are checked
# Variables: PYTHON, VENV, PORT, ARGS (options of the server, e.g. ARGS="--profile llama3.2-1b"), PIP_ARGS

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8766
ARGS ?=
PIP_ARGS ?=
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
STAMPS := settings.ini setup.py pyproject.toml constraints.txt

.PHONY: serve test coverage lab docs install dev clean

serve: $(VENV)/installed
	@exec $(BIN)/python -m hubert_llama.server $(PORT) $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/nbdev_test
	$(BIN)/python -m pytest -n auto --maxprocesses 4

coverage: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --cov --cov-report term

lab: $(VENV)/installed-dev
	$(BIN)/python -m jupyter lab nbs

docs: $(VENV)/installed-dev
	$(PIP) -q -e ".[docs]"
	$(BIN)/python tools/docs.py

install: $(VENV)/installed

dev: $(VENV)/installed-dev

$(VENV)/installed: $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) -q -e .
	@touch $@

$(VENV)/installed-dev: $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) -q -e ".[dev]"
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info

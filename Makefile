PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
BESIDE ?= -n 3 --dist worksteal # how tests run that disturb nobody: some wait while others compute

# Python modules are compiled once, whatever the surroundings say about __pycache__.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo docs site docs-serve notebook test quick lint types imports tests fuzz clean

demo: $(VENV)/.app ## Render the demo piece from the shipped memory
	mkdir -p $(OUT)/demo
	$(BIN)/fugue forget -o $(OUT)/demo/forgetting.wav --force

docs: $(VENV)/.docs ## Build the documentation as a site in out/site
	$(BIN)/mkdocs build --strict --site-dir $(OUT)/site

site: $(VENV)/.docs ## ... with a page that plays the demo piece in the browser, as "Try it"
	mkdir -p $(OUT)
	$(BIN)/fugue share guitar -o $(OUT)/forgetting.html --title Forgetting --force
	TRY_IT=$(OUT)/forgetting.html $(BIN)/mkdocs build --strict --site-dir $(OUT)/site

docs-serve: $(VENV)/.docs ## ... and show it while it is written
	$(BIN)/mkdocs serve

notebook: $(VENV)/.dev ## Run the notebook again, from top to bottom
	$(BIN)/jupyter execute --inplace notebooks/demo.ipynb

test: lint types imports tests ## Everything that must pass

quick: lint types imports ## What is soon done: no PyTorch, no browser, no other process
	$(BIN)/pytest $(BESIDE) -m "not realtime and not heavy"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

tests: $(VENV)/.dev
	$(BIN)/pytest $(BESIDE) -m "not realtime"
	$(BIN)/pytest $(BESIDE) -m "realtime and not alone"
	$(BIN)/pytest -m "realtime and alone"

fuzz: $(VENV)/.dev ## Malformed inputs by the thousand: some minutes
	$(BIN)/python -m fuzz

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@ $(VENV)/.app

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.app $(VENV)/.docs

clean:
	rm -rf $(VENV) $(OUT)

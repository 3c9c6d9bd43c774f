# Every target sets up what it needs: a virtual environment in .venv, nothing global.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo page pictures test mutants check format lint types clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/installed ## Make the virtual environment

.venv/installed: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup ## Synthesise a data set, train the tiny model on a, v and av, print the comparison
	$(BIN)/python -m evqa.train -m sweep=demo
	$(BIN)/python -m evqa.report runs/demo --out runs/demo/report --baseline modal=v

page: setup ## Train the tiny model, if that is not done, and open the page that scores, compares and asks
	$(BIN)/python -m evqa.train run.experiment=page run.name=engagement
	$(BIN)/python -m evqa.train run.experiment=page run.name=levels head=levels
	$(BIN)/python -m evqa.serve --scorer runs/page/engagement --scorer runs/page/levels --runs runs --open

pictures: setup ## Make the README's pictures of the page (needs Chromium)
	$(BIN)/python -m evqa.train run.experiment=page run.name=engagement
	$(BIN)/python -m tests.web.pictures runs/page/engagement

test: setup ## Run the tests, one process a core; what fails beside a busy neighbour gets one more try alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder || \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --last-failed --last-failed-no-failures none

mutants: setup ## Test the tests with deliberate errors, all or in one room: make mutants ROOM=evqa/metrics
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'mutmut>=3.8.1,<4'
	OMP_NUM_THREADS=1 EVQA_GOLDEN="$${EVQA_GOLDEN:-$(abspath ../shared/golden)}" \
	$(BIN)/mutmut run --max-children $(or $(JOBS),2) $(if $(ROOM),"$(subst /,.,$(ROOM:.py=)).*")
	$(BIN)/mutmut results --all true | awk -F': ' '$$2 != "not checked" { split($$1, name, "[.]x"); n[name[1]]++; \
	dead[name[1]] += $$2 == "killed" } END { for (m in n) printf "%-36s %4d of %4d\n", m, dead[m], n[m] }' | sort

check: setup lint types test ## Everything that CI runs

format: setup ## Format the code
	$(BIN)/ruff format . && $(BIN)/ruff check --fix-only --quiet .

lint: setup ## Check style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup ## Check types
	$(BIN)/mypy

clean: ## Remove what was built here, but no runs and no data
	rm -rf .venv build dist mutants .mypy_cache .pytest_cache .ruff_cache

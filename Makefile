# The verbs of this project. `make run` and `make test` are all that a newcomer needs.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --only-binary :all: --no-binary voiceagent
# Wheels only, in the versions of constraints.txt. The stamps make the second start a quick one.
SETUP := $(VENV)/.setup-done
TESTS := $(VENV)/.tests-done
MARKS ?=
PROCESSES ?= 2

.PHONY: run test setup lint bench docs clean transcripts simulate mutate

run: $(SETUP)
	@exec $(BIN)/voiceagent serve

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	@python=$$(sh scripts/find_python.sh) || exit 1; \
	if ! $(BIN)/python -c '' 2>/dev/null; then echo "creating $(VENV) with $$python"; "$$python" -m venv $(VENV); fi
	@echo "installing (once)"
	@$(PIP) -c constraints.txt hatchling editables
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[local]' pytest
	@touch $@

$(TESTS): $(SETUP)
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[local,test,browser]'
	@sh scripts/find_chromium.sh $(BIN)/python
	@touch $@

test: $(TESTS)
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup -m "not browser" $(MARKS)
	@echo "and in a browser, where sound takes its time and wants the machine for itself"
	@$(BIN)/python -m pytest -m browser $(MARKS)

lint: $(SETUP)
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[local,test,lint]'
	@$(BIN)/ruff check src tests examples
	@$(BIN)/ruff format --check --quiet src tests examples
	@$(BIN)/mypy
	@$(BIN)/python -m voiceagent.reference --check
	@if command -v npm >/dev/null; then npm install --no-package-lock --no-audit --no-fund --silent && npm run --silent check; \
	else echo "npm is not there: the page's types were not checked"; [ -z "$$CI" ]; fi

bench: $(SETUP)
	@$(BIN)/voiceagent bench

simulate: $(SETUP)
	@$(BIN)/voiceagent simulate --seeds 2000 --seconds-per-session 30 $(MARKS)

mutate: $(TESTS)
	@$(BIN)/python scripts/mutate.py $(MARKS)

dialogs: $(SETUP)
	@$(BIN)/voiceagent dialogs

docs: $(SETUP)
	@$(BIN)/python -m voiceagent.reference

transcripts: $(TESTS)
	@UPDATE_TRANSCRIPTS=1 $(BIN)/python -m pytest -q tests/test_conversation.py tests/test_tuning.py tests/test_latency_docs.py

clean:
	@rm -rf $(VENV) node_modules build dist .pytest_cache .mypy_cache .ruff_cache

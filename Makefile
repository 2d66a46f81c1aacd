# `make run` shows the product on its own; `make test` proves it on a real API server and a real kubelet.
# Whatever a target needs (Python packages, Debian packages, Go programs) it installs itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UNIT := pytest tests/unit --numprocesses auto --dist worksteal
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-annotate --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help run check unit test test-newest test-oldest test-e2e test-kind test-survive test-versions bench cluster cluster-down install kind kind-down image generate docs pictures zipapp sbom lock clean test-engines test-mutants test-fuzz rehearse-release

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nonroot-webhook needs Python 3.11 or later; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.runtime

run: $(VENV)/.runtime ## the real server on loopback, real images, real reviews: what becomes of each (FILES="a.yaml …" for your own)
	@$(BIN)/python -m deploy.demo $(FILES)

check: $(VENV)/.dev ## format, lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit test-newest test-oldest: export PYTHONDONTWRITEBYTECODE = # each worker would compile every test anew
unit: $(VENV)/.dev ## the tests that need nothing but Python, and no process of their own
	$(BIN)/$(UNIT)

test-newest: $(VENV)/.dev ## the unit tests with the newest version of every dependency, as `pip install .` takes them
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-newest
	$(BIN)/uv pip install --quiet --python $(VENV)-newest/bin/python --resolution highest -e '.[server,controller,dev]'
	$(VENV)-newest/bin/$(UNIT)

test-oldest: $(VENV)/.dev ## the unit tests with the oldest version of every dependency that pyproject.toml admits
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-oldest
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --resolution lowest-direct --extra server --extra controller pyproject.toml -o $(VENV)-oldest/requirements.txt
	$(BIN)/uv pip install --quiet --python $(VENV)-oldest/bin/python -c $(VENV)-oldest/requirements.txt -e '.[server,controller,dev]'
	$(VENV)-oldest/bin/$(UNIT)

test: export GOGC = 200 # kubectl, Helm and the cluster are Go: collecting garbage half as often takes a quarter off their CPU
test: check ## everything, on a real cluster that is started and ended here (KUBECONFIG=… uses yours)
	PYTHONDONTWRITEBYTECODE= $(BIN)/$(UNIT) --hypothesis-profile=thorough --cov --cov-report=
	$(BIN)/python -m deploy.with_cluster $(BIN)/pytest --ignore=tests/unit --numprocesses 3 --dist loadscope --hypothesis-profile=thorough --cov --cov-append --cov-report=term

test-e2e: $(VENV)/.dev ## only the end-to-end suite
	$(BIN)/python -m deploy.with_cluster $(BIN)/pytest -m "cluster or e2e"

test-kind: $(VENV)/.dev ## the cluster and end-to-end suites on three nodes of kind, without Docker Hub (NODES=2, TESTS="tests/e2e …")
	$(BIN)/python -m tests.e2e.earlier
	$(BIN)/python -m deploy.kind around $(BIN)/pytest -m "cluster or e2e" $(TESTS)

test-survive: $(VENV)/.dev ## do harm to an installed release and see (LONG=1: hours, and the documentation's figures anew)
	$(if $(LONG),NONROOT_SURVIVE_LONG=1 NONROOT_KEEP_FIGURES=1) $(BIN)/python -m deploy.with_cluster $(BIN)/pytest -m survive -s
	$(if $(LONG),NONROOT_MEMORY_SECONDS=60 $(BIN)/pytest tests/unit/registry/test_memory.py tests/unit/server/test_memory.py)
	$(if $(LONG),$(BIN)/python -m tests.resilience.figures)

test-versions: $(VENV)/.dev ## on other versions of Kubernetes and containerd, which it builds (half an hour each; VERSIONS="1.35/2.1 …")
	$(BIN)/python -m tests.versions $(or $(VERSIONS),1.36/2.2 1.35/2.1 1.35/1.7 1.34/2.1 1.33/2.0 1.33/1.7 1.32 1.31 1.30)
	$(BIN)/python -m tests.versions.results

test-engines: $(VENV)/.dev ## beside the real Gatekeeper and Kyverno, which it builds (an hour on two cores, once; Go)
	NONROOT_ENGINES=1 $(BIN)/python -m deploy.with_cluster $(BIN)/pytest tests/integration/engines -s

rehearse-release: $(VENV)/.dev ## run the release workflow's own steps here, for two architectures, and use what they made (an hour, once; root, Go)
	@$(BIN)/python -m deploy.rehearsal

test-mutants: $(VENV)/.dev ## change the code that decides, one thing at a time: does a test notice? (hours; MODULES="webhook.policy.selection*")
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-mutants
	$(BIN)/uv pip install --quiet --python $(VENV)-mutants/bin/python -c requirements-dev.txt -e '.[dev]' 'mutmut>=3.8,<4'
	NONROOT_GUARANTEE_CASES=200 $(VENV)-mutants/bin/python tests/mutation/mutants.py $(MODULES)
	$(BIN)/python -m tests.mutation

test-fuzz: $(VENV)/.dev ## millions of inputs, guided by coverage, for whatever reads what strangers send (an hour; TARGETS="manifest …")
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-fuzz
	$(BIN)/uv pip install --quiet --python $(VENV)-fuzz/bin/python -c requirements-dev.txt -e '.[server,controller,dev]' 'atheris>=3,<4'
	NONROOT_KEEP_FIGURES=1 $(VENV)-fuzz/bin/python -m tests.support.fuzzing $(TARGETS)
	$(BIN)/python -m tests.resilience.figures

bench: $(VENV)/.dev ## what it costs, beside others in one run (quiet machine, Go, cargo; SECTIONS="throughput …", PEERS=all)
	$(BIN)/python -m tests.bench

cluster: $(VENV)/.dev ## a real cluster with the webhook installed and enforcing
	$(BIN)/python -m deploy.try_it up

cluster-down: $(VENV)/.dev ## end it, and everything it started
	$(BIN)/python -m deploy.try_it down

install: $(VENV)/.runtime ## build the image, push it to REGISTRY=HOST[/PATH] and install the chart into your kubeconfig's cluster
	@$(BIN)/python -m deploy.install "$(REGISTRY)"

kind: $(VENV)/.dev ## a kind cluster with the webhook installed and enforcing, with Docker Hub or without (NODES=2, KUBERNETES=1.35)
	@$(BIN)/python -m deploy.kind up

kind-down: $(VENV)/.dev ## end it
	@$(BIN)/python -m deploy.kind down

image: $(VENV)/.dev ## build our own image with buildah
	$(BIN)/python -m deploy.dev.images.build --product

generate: $(VENV)/.dev ## what is generated from the code: CRDs, JSON Schemas, reference documentation, plain manifests
	$(BIN)/python -m webhook.policy.crd charts/nonroot-webhook/files/crds
	$(BIN)/python -m webhook.cli.output.json_v1
	$(BIN)/python -m webhook.cli.output.table
	$(BIN)/python -m webhook.cli.output.inspection
	$(BIN)/python -m webhook.scan.document
	$(BIN)/python -m webhook.scan.effective_policy
	$(BIN)/python -m webhook.scan.why
	$(BIN)/python -m deploy.dev.chart_readme
	$(BIN)/python -m deploy.dev.reference
	$(BIN)/python -m deploy.plain

docs: $(VENV)/.docs ## dist/docs: the documentation as a site, strictly: every link and page is checked
	@NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --quiet --config-file .mkdocs.yml

$(VENV)/.docs: docs/requirements.txt | $(VENV)/bin/python
	@$(PYTHON) -m venv $(VENV)/docs
	@$(VENV)/docs/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r docs/requirements.txt
	@touch $@

pictures: $(VENV)/.dev ## docs/pictures anew, from a real cluster and a real browser
	$(BIN)/python -m deploy.with_cluster $(BIN)/python -m deploy.dev.pictures

zipapp: $(VENV)/.dev ## dist/nonroot-OS-ARCH.pyz: the command line in one file (PLATFORMS="linux-amd64 …"; this machine's by default)
	@$(BIN)/python -m deploy.krew.zipapp $(PLATFORMS)

sbom: $(VENV)/.dev ## dist/sbom.cdx.json: every package that runs, with its hashes (CycloneDX)
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
		--sv 1.6 -o dist/sbom.cdx.json requirements.txt

lock: $(VENV)/.dev ## pin the dependencies again, with hashes
	$(LOCK) --extra cluster -o requirements-cli.txt pyproject.toml
	$(LOCK) --extra server --extra controller -o requirements.txt pyproject.toml
	$(LOCK) --extra server --extra controller --extra dev -o requirements-dev.txt pyproject.toml
	$(LOCK) -o tests/bench/requirements.txt tests/bench/requirements.in
	$(LOCK) -o docs/requirements.txt docs/requirements.in
	$(LOCK) --only-build-deps --build-deps-for wheel -o requirements-build.txt pyproject.toml

clean: ## remove what was made here; the cache of built programs stays
	rm -rf $(VENV) $(VENV)-newest $(VENV)-oldest $(VENV)-mutants $(VENV)-fuzz mutants dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

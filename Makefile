# Everything a newcomer needs; `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/locked
INSTALLED := $(VENV)/installed
ARCHIVE := $(VENV)/archive/installed

.DEFAULT_GOAL := help
.PHONY: help demo demo-webhooks demo-store view vendor serve test servers check format lint types test-archive schemata bench fuzz soak sbom audit image test-image test-pythons lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

$(LOCKED): locks/dev.lock locks/ez-wsi-6.0.lock locks/serving-clients.lock locks/slidescore-sdk.lock locks/wsidicom.lock .ci/install-lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "pathserve needs Python 3.11 to 3.13; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	.ci/install-lock $(BIN)/python locks/dev.lock
	.ci/install-lock $(BIN)/python locks/ez-wsi-6.0.lock --target $(VENV)/ez-wsi-6.0
	.ci/install-lock $(BIN)/python locks/serving-clients.lock --target $(VENV)/serving-clients
	.ci/install-lock $(BIN)/python locks/slidescore-sdk.lock --target $(VENV)/slidescore-sdk
	.ci/install-lock $(BIN)/python locks/wsidicom.lock --target $(VENV)/wsidicom
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## Start the service, embed real tissue, print a table, stop
	$(BIN)/python -m scripts.demo

demo-webhooks: $(INSTALLED) ## Start the webhooks beside stand-ins for Slide Score and Techcyte, and show what a user sees
	$(BIN)/python -m scripts.demo_webhooks
	$(BIN)/python -m scripts.demo_techcyte

view: $(INSTALLED) ## Serve with the page at /view, and a slide of real tissue to look at
	@$(BIN)/python -m scripts.view

demo-store: $(INSTALLED) ## Start the slide store, take a folder of slides in, show them, share one, embed it, stop
	$(BIN)/python -m scripts.demo_store

serve: $(INSTALLED) ## Serve on 127.0.0.1:8080 and print a curl line to try
	@$(BIN)/python -m scripts.curl_line
	$(BIN)/python -m serving serve

$(ARCHIVE): $(LOCKED) locks/archive-dev.lock pyproject.toml .ci/install-lock
	$(PYTHON) -m venv --clear $(VENV)/archive
	.ci/install-lock $(VENV)/archive/bin/python locks/archive-dev.lock
	$(VENV)/archive/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test-archive: $(ARCHIVE) ## Run the tests of archives, and what they share with others, beside Beam and the libraries that it wants
	$(VENV)/archive/bin/python -m pytest tests/archive tests/unit/serving/archive tests/unit/serving/batch tests/unit/serving/output

test: $(INSTALLED) servers test-archive ## Run every test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

servers: # a real DICOMweb store, PostgreSQL, Prometheus and browser for the tests, where they can be installed
	@{ command -v Orthanc && command -v storescu && command -v chromium && command -v promtool && ls /usr/lib/postgresql/*/bin/postgres; } >/dev/null 2>&1 || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium dcmtk orthanc orthanc-dicomweb postgresql prometheus >/dev/null || echo "Chromium, Orthanc, PostgreSQL or Prometheus could not be installed; their tests will be skipped."; \
	else echo "Chromium, Orthanc, PostgreSQL or Prometheus is not installed; their tests will be skipped. apt install chromium dcmtk orthanc orthanc-dicomweb postgresql prometheus"; fi

check: format lint types test ## What CI runs: format, lint, types, tests

format: $(INSTALLED)
	$(BIN)/ruff format --check .

lint: $(INSTALLED)
	$(BIN)/hadolint Dockerfile
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(INSTALLED)
	$(BIN)/mypy

schemata: $(INSTALLED) ## Write serving/api/vertex_schemata/ from the code
	$(BIN)/python -m scripts.schemata

bench: $(INSTALLED) ## Measure the service beside the bare encoder
	$(BIN)/python -m tests.benchmarks

fuzz: $(INSTALLED) ## 20,000 mutations of every coding, then 100,000 mutated requests and 20,000 images and frames
	$(BIN)/python -m tests.fuzz.codecs
	$(BIN)/python -m tests.fuzz

soak: $(INSTALLED) ## Load, faults and drains, ten minutes each
	$(BIN)/python -m tests.soak

sbom: $(INSTALLED) ## Write sbom.json: what the image holds, with hashes and licences
	$(BIN)/python -m scripts.sbom

audit: $(INSTALLED) ## Look up known vulnerabilities of what is locked (needs the network)
	$(BIN)/pip-audit --requirement locks/runtime.lock --disable-pip --require-hashes

IMAGE_TOOL ?= $(shell docker info >/dev/null 2>&1 && echo docker || command -v podman || command -v buildah)
image: ## Build the container image (GPU=1 for CUDA, OPENVINO=1 for OpenVINO)
	@test -n "$(IMAGE_TOOL)" || { echo "No docker (running), podman or buildah was found; apt install buildah"; exit 1; }
	$(IMAGE_TOOL) build --build-arg GPU=$(or $(GPU),0) --build-arg OPENVINO=$(or $(OPENVINO),0) $(IMAGE_OPTIONS) \
	  -t $(or $(TAG),pathserve) .

test-image: $(INSTALLED) ## Build and run the images for real, as root on a Debian
	$(BIN)/python -m tests.image

test-pythons: $(INSTALLED) ## Install and serve with each Python that is here
	$(BIN)/python -m tests.pythons

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
  --custom-compile-command "make lock"
lock: ## Renew the lock files from pyproject.toml
	@test -x $(BIN)/uv || $(MAKE) $(INSTALLED)
	$(COMPILE) pyproject.toml --extra dev -o locks/dev.lock
	$(COMPILE) pyproject.toml -c locks/dev.lock -o locks/runtime.lock
	$(COMPILE) pyproject.toml --extra openvino -c locks/dev.lock -o locks/openvino.lock
	mkdir -p build/gpu && sed -f .ci/gpu.sed pyproject.toml > build/gpu/pyproject.toml
	$(COMPILE) build/gpu/pyproject.toml -c locks/dev.lock -o locks/gpu.lock
	$(COMPILE) pyproject.toml --extra archive-dev -o locks/archive-dev.lock
	$(COMPILE) pyproject.toml --extra archive -c locks/archive-dev.lock -o locks/archive.lock
	echo "ez-wsi-dicomweb>=6.0,<6.1" | $(COMPILE) - --no-deps -o locks/ez-wsi-6.0.lock
	echo "slidescore-sdk>=1.5,<1.6" | $(COMPILE) - -o locks/slidescore-sdk.lock
	printf '%s\n' "boto3>=1.44" botocore jmespath s3transfer \
	  "kserve>=0.21,<0.22" annotated-doc "cloudevents<2" deprecation durationpy fastapi grpc-interceptor kubernetes \
	  oauthlib "pandas<4" requests-oauthlib starlette timing-asgi uvicorn watchfiles websocket-client | \
	  $(COMPILE) - --no-deps -o locks/serving-clients.lock
	printf '%s\n' "dicomweb-client>=0.61" "marshmallow>=4" pathlib-abc universal-pathlib "wsidicom>=0.36" | \
	  $(COMPILE) - --no-deps -o locks/wsidicom.lock

vendor: $(INSTALLED) ## Renew what is kept of other projects (needs npm and the network)
	$(BIN)/python -m scripts.vendor

clean: ## Remove what was installed and built
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

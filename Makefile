PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements/lock.txt
BIN := $(VENV)/bin
WHEEL := $(VENV)/wheel
SITE := 'import sysconfig; print(sysconfig.get_path("purelib"))'
SOURCES := $(shell find zoo kernels plugins registry -name '*.py' -o -name '*.pyi' -o -name '*.j2' -o -name '*.js' -o -name '*.css')
JOBS ?= 2
PARALLEL := --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
# PyTorch takes gigabytes, so its release is chosen here; all else is the newest that goes with it.
TORCH := torch==2.14.1 torchvision==0.29.1

.PHONY: help setup lock test test-long test-fast test-oldest test-newest tests gates lint types wheel site docs demo \
	bench readme clean

help:
	@echo "make setup        create .venv with everything that development needs, as locked"
	@echo "make demo         evaluate on a synthetic plate and write report/index.html"
	@echo "make test         lint, types, tests with coverage, the site, a smoke test of the wheel"
	@echo "make test-long    tests that take most of a minute each, such as those of learning"
	@echo "make test-fast    tests that take seconds"
	@echo "make test-oldest  tests with the oldest versions that pyproject.toml promises"
	@echo "make test-newest  tests with the newest versions that there are"
	@echo "make gates        what every kernel compiles to; TRITON=3.6 asks another release"
	@echo "make lock         remake requirements/"
	@echo "make bench        run the benchmarks that this machine can run"
	@echo "make docs         build the documentation site and serve it while it is written"
	@echo "make readme       remake the tables and the picture of README.md"
	@echo "make clean        remove everything that make made"
	@echo "Python 3.11 to 3.13 is needed; name one with make PYTHON=python3.12 ..."

setup: $(VENV)/.done

$(VENV)/.locked: $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(LOCK),-r $(LOCK),'.[dev]')
	@touch $@

$(VENV)/.done: $(VENV)/.locked pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

lock:
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	for one in $(TORCH); do echo $$one; done > .venv-lock/torch.txt
	$(COMPILE) requirements/lock.txt --universal --constraints .venv-lock/torch.txt
	$(COMPILE) requirements/oldest.txt --resolution lowest-direct --python-platform linux
	rm -rf .venv-lock

COMPILE = .venv-lock/bin/uv pip compile --quiet --no-config --upgrade --python-version 3.11 \
	--custom-compile-command "make lock" --extra dev pyproject.toml --output-file

demo: setup
	$(BIN)/zoo demo --out report

test: lint types wheel site setup
	$(BIN)/pytest $(PARALLEL) -m "not long" --cov --cov-report=term:skip-covered

test-long: setup
	$(BIN)/pytest $(PARALLEL) -m long

test-fast: setup
	$(BIN)/pytest $(PARALLEL) -m "not slow and not long"

tests: setup
	$(BIN)/pytest $(PARALLEL)

test-oldest:
	$(MAKE) VENV=.venv-oldest LOCK=requirements/oldest.txt PYTHON=python3.11 tests

# Made anew, for what was the newest a month ago is not.
test-newest:
	rm -rf .venv-newest
	$(MAKE) VENV=.venv-newest LOCK= tests

# Of another Triton only its compiler is asked, so that it can lie beside the locked PyTorch.
ANOTHER = .venv-triton-$(TRITON)

gates: setup
	$(if $(TRITON),test -d $(ANOTHER) || $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check --no-deps --target $(ANOTHER) 'triton==$(TRITON).*')
	$(if $(TRITON),PYTHONPATH=$(ANOTHER)) $(BIN)/pytest tests/kernels/test_compiled.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry zoo kernels plugins registry

# Types are checked on the installed wheel, for checkers cannot see the folders behind the mapping;
# and only with what is locked, for stubs of torch and numpy differ from version to version.
types: $(WHEEL)/.done
	cd $(WHEEL) && ../bin/mypy --config-file $(CURDIR)/pyproject.toml \
		--python-executable bin/python -p zoo

wheel: $(WHEEL)/.done
	cd $(WHEEL) && bin/python -P $(CURDIR)/tests/smoke.py

# The wheel's environment borrows what it needs from the other, for a second PyTorch takes
# gigabytes; that all of it is declared is what deptry checks.
$(WHEEL)/.done: $(SOURCES) $(VENV)/.done
	$(BIN)/python -m venv --clear --without-pip $(WHEEL)
	rm -rf build dist && $(BIN)/python -m build --no-isolation --wheel --outdir dist . > /dev/null
	$(BIN)/python -m pip --python $(WHEEL)/bin/python install --quiet --no-deps dist/*.whl
	$(BIN)/python -c $(SITE) > "$$($(WHEEL)/bin/python -c $(SITE))/borrowed.pth"
	@touch $@

# Material for MkDocs prints an advertisement for its successor unless it is told not to.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/python -P -m mkdocs

site: setup
	$(MKDOCS) build --strict --quiet

docs: setup
	$(MKDOCS) serve

# BASE=COMMIT or a table of rows compares with earlier times.
bench: setup
	mkdir -p .benchmarks
	$(BIN)/pytest benchmarks/bench_encode.py --benchmark-json=.benchmarks/encode.json \
		--benchmark-columns=min,median,rounds --timeout=3000 -q; status=$$?; \
	$(BIN)/python benchmarks/encode_table.py .benchmarks/encode.json \
		$(if $(BASE),--base $(BASE)) && exit $$status
	$(BIN)/pytest benchmarks/bench_ragged_attention.py --benchmark-json=.benchmarks/attention.json \
		--benchmark-columns=min,median,rounds --timeout=3000 -q; status=$$?; \
	$(BIN)/python benchmarks/attention_table.py .benchmarks/attention.json \
		$(if $(BASE),--base $(BASE)) && exit $$status

readme: setup
	$(BIN)/python -P docs/make_readme.py

clean:
	rm -rf .venv .venv-* .site build dist report *.egg-info .coverage .mypy_cache .ruff_cache \
		.pytest_cache

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SITE := 'import sysconfig; print(sysconfig.get_path("purelib"))'
SOURCES := $(shell find zoo kernels plugins registry -name '*.py' -o -name '*.j2' -o -name '*.js' -o -name '*.css')

.PHONY: help setup test lint types wheel demo bench readme clean

help:
	@echo "make setup   create .venv with everything that development needs"
	@echo "make demo    evaluate on a synthetic plate and write report/index.html"
	@echo "make test    lint, types, tests, and a smoke test of the built wheel"
	@echo "make bench   run the benchmarks that this machine can run"
	@echo "make readme  remake the tables and the picture of README.md"
	@echo "make clean   remove everything that make made"

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/zoo demo --out report

test: lint types wheel
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry zoo kernels plugins registry

# Types are checked on the installed wheel: checkers cannot see the folders behind the mapping.
types: .wheel-venv/.done
	cd .wheel-venv && ../$(BIN)/mypy --config-file ../pyproject.toml \
		--python-executable bin/python -p zoo

wheel: .wheel-venv/.done
	cd .wheel-venv && bin/python -P ../tests/smoke.py

# The wheel's environment borrows what it needs from .venv, for a second PyTorch takes gigabytes;
# that all of it is declared is what deptry checks.
.wheel-venv/.done: $(SOURCES) setup.py pyproject.toml | setup
	$(PYTHON) -m venv --clear --without-pip .wheel-venv
	rm -rf build dist && $(BIN)/python -m build --wheel --outdir dist . > /dev/null
	$(BIN)/python -m pip --python .wheel-venv/bin/python install --quiet --no-deps dist/*.whl
	$(BIN)/python -c $(SITE) > "$$(.wheel-venv/bin/python -c $(SITE))/borrowed.pth"
	@touch $@

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
	rm -rf $(VENV) .wheel-venv build dist report *.egg-info .mypy_cache .ruff_cache .pytest_cache

PYTHON ?= .venv/bin/python

.PHONY: check test bench format

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -n 2

bench:
	$(PYTHON) -m benchmarks

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# make search | setup | test | test-reliability
# Everything runs in .venv; PYTHON names the interpreter that makes it.
PYTHON ?= $(firstword $(foreach p,python3 python3.11 python3.12 python3.13 python3.14,\
  $(shell $(p) .ci/python_fits.py 2>/dev/null && echo $(p))) python3)
READY := .venv/.ready

.PHONY: search setup test test-reliability

search: setup
	@.venv/bin/python -m tuning.search

setup: $(READY)

# As many tests at once as there are CPUs, up to 4, with a thread each; tests/order.py says which comes when.
test: setup
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses logical --maxprocesses 4 --no-loadscope-reorder

# An hour or so; the last line is the JSON object that tests/reliability/README.md speaks of.
test-reliability: setup
	@.venv/bin/python -m pytest -m reliability
	@FUZZ_EXAMPLES=2000 .venv/bin/python -m pytest tests/reliability
	@.venv/bin/python -m tests.reliability.crashes

# The stamp is written last: an installation that was interrupted starts again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) .ci/python_fits.py
	@echo "Installing into .venv: about 3 minutes, more on a slow network; 7 GB of disk where there are CUDA's libraries,"
	@echo "$$(df -Pk . | awk 'NR == 2 {printf "%.0f", $$4 / 1e6}') GB are free here"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

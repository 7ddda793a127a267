# make demo    explain generated images on a local Ray cluster: table, Parquet, _report.html
# make test    every check and test
# make serve   serve the embedded classifier over HTTP until stopped
#
# Each sets up what is missing, in $(VENV). Without a GPU, TORCH_INDEX keeps pip from downloading
# CUDA by the gigabyte:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON      ?= python3.11
VENV        ?= .venv
TORCH_INDEX ?=
TORCH       := $(shell sed -n 's/^torch==/torch==/p' requirements.lock)
BIN         := $(VENV)/bin

# Containers often set it, and each process would compile torch and Ray again: 12 s instead of 5.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check serve peer-rex clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/pip install --quiet --no-compile --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/pip check
	touch $@

demo: setup
	$(BIN)/python jobs/demo.py

serve: setup
	$(BIN)/xaiserve serve --model embedded=embedded

check: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/check

test: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/test

# The reference tool, in the environment of its own where the benchmarks look for it.
peer-rex: .peers/rex/.ready

.peers/rex/.ready: requirements.lock
	$(PYTHON) -m venv .peers/rex
	.peers/rex/bin/pip install --quiet --no-compile $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	.peers/rex/bin/pip install --quiet rex-xai==0.4.1 $(shell sed -n 's/^onnxruntime==/onnxruntime==/p' requirements.lock)
	touch $@

clean:
	rm -rf $(VENV) out

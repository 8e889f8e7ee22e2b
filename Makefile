# `make demo` and `make test` each work alone on a fresh clone: Python 3.10+ with headers and venv, a C compiler, make.
# Everything is made in .venv and build/; a second run is quick.  PYTHON=... and CC=... choose other ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# Tests of an extra that is left out are skipped.
EXTRAS ?= all,bench,postgres,dev
CLIP := tests/media/h264_baseline_320x240_25fps.mp4

BUILD_META := pyproject.toml setup.py
NATIVE_SOURCES := $(shell find csrc -name '*.[ch]' 2>/dev/null) kvspic/_ffi_build.py
comma := ,
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
unexport PYTHONPATH PYTHONHOME

.PHONY: demo test docs docs-site bench lint native-test native-thread-test sanitize-test cross-test dist wheels wheel-check wheel-test platforms release-check clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

# $(call native_check,SANITIZERS): the C tests by gcc and by clang, each if it can link the sanitizers; neither: an error.
define native_check
	compilers=; for cc in gcc clang; do \
		if echo 'int main(void) { return 0; }' | $$cc -fsanitize=$(1) -x c - -o /dev/null 2>/dev/null; \
		then compilers="$$compilers $$cc"; fi; \
	done; \
	[ -n "$$compilers" ] || { echo "Neither gcc nor clang can link -fsanitize=$(1) here." \
		"Install one with its sanitizer library (Debian: apt install gcc)." >&2; exit 1; }; \
	for cc in $$compilers; do $(MAKE) --no-print-directory -s -j$(JOBS) -C tests/native CC=$$cc SAN=$(1) check && \
		$(MAKE) --no-print-directory -s -j$(JOBS) -C tests/native/pic CC=$$cc SAN=$(1) check || exit 1; done
endef

demo: $(VENV)/.ready
	$(BIN)/python -m kvspic demo $(CLIP)

test: lint native-test $(VENV)/.ready
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy

# The C tests under ASan and UBSan, by every compiler that can.
native-test:
	@set -e; $(call native_check,address$(comma)undefined)

# The same under TSan: data races between streams, the client and the host's locks.
native-thread-test:
	@set -e; $(call native_check,thread)

# The C tests as other machines run them; some of it: make cross-test PARTS="armhf windows". Installs Debian's packages.
cross-test: $(VENV)/.ready
	@./.ci/cross-test $(PARTS)

# The Python suite over an extension built with ASan and UBSan, in a copy of the tree: the normal build is not touched.
sanitize-test: $(VENV)/.ready
	@./.ci/sanitize $(BIN) $(PYTEST_ARGS)

# The pages that are drawn from the compiled core.
docs: $(VENV)/.ready
	$(BIN)/python -m kvspic states --format page > docs/states.md
	$(BIN)/python -c 'from kvspic import _lib, errors; print(errors.page(), end="")' > docs/errors.md

# The documentation site, in build/site/: docs/ and the reference made from the code. A link that leads nowhere is an error.
docs-site: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "The site is build/site/index.html."

# sdist, and a wheel built from that sdist.
dist: $(VENV)/.ready
	$(BIN)/python -m build --outdir build/dist .

# The wheels of all platforms and the source archive, in build/dist/; tools/crosswheel.py says how. Some of them:
# make wheels WHEELS="manylinux_2_17_aarch64 win_amd64".
wheels: $(VENV)/.release
	@rm -rf build/dist
	$(BIN)/python tools/crosswheel.py build/dist $(WHEELS)

# What an index, and a Python older or newer than this one, ask of these files.
wheel-check: $(VENV)/.release
	PATH="$(abspath $(BIN)):$$PATH" ./.ci/wheel-check build/dist

# The wheels where they are meant for: demo and unit suite without sources; some of it: make wheel-test PARTS="arm64 musl".
wheel-test:
	@./.ci/wheel-test $(PARTS)

# docs/platforms.md from what `wheels`, `wheel-test` and `cross-test` have noted.
platforms: $(VENV)/.ready
	$(BIN)/python tools/platforms.py

# Wheels from a clean clone of HEAD, checked and tried; at its end stands what a person still has to do.
release-check:
	./.ci/release-check

clean:
	rm -rf $(VENV) build dist *.egg-info kvspic/_enums.py kvspic/_native*.so kvspic/_native*.pyd kvspic/testing/_internals*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Two steps, one stamp: packages when the metadata changed, and only the extension when only C sources did.
$(VENV)/.ready: $(BUILD_META) $(NATIVE_SOURCES) $(VENV)/.python
	@if [ ! -e $(VENV)/.packages ] || [ pyproject.toml -nt $(VENV)/.packages ] || [ setup.py -nt $(VENV)/.packages ]; then \
		echo "Installing kvspic and its packages into $(VENV) ..."; \
		CC="$${CC:-$$(cat $(VENV)/.python)}" $(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]' \
			&& touch $(VENV)/.packages; \
	else \
		echo "Rebuilding kvspic/_native ..."; \
		CC="$${CC:-$$(cat $(VENV)/.python)}" $(BIN)/python setup.py --quiet build_ext --inplace --force; \
	fi
	@touch $@

$(VENV)/.release: pyproject.toml $(VENV)/.ready
	@echo "Installing what makes and checks wheels into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[release]' && touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.ready
	@echo "Installing what builds the documentation site into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet 'kvspic[docs]' && touch $@

# Made once: says what is missing before anything is built, and keeps the name of the C compiler found.
$(VENV)/.python:
	@compiler=$$(./.ci/preflight $(PYTHON)) && { [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); } \
		&& echo "$$compiler" > $@

# Every figure of benchmarks/README.md, in five minutes; a part of them: make bench ARGS="frame put_frame".
bench: $(VENV)/.ready
	$(MAKE) --no-print-directory -s -C benchmarks PYTHON=$(abspath $(BIN))/python

include csrc/lib.mk

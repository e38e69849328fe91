# Needs CPython 3.10 or newer with venv, a C compiler, and make; every tool is installed by pip.
PYTHON ?= python3
TESTS ?= tests
ARGS ?=

SOURCES := pyproject.toml setup.py MANIFEST.in $(wildcard README.md LICENSE) \
    $(shell find fastnn src_c -type f ! -name '*.so' ! -name '*.py[cod]' 2>/dev/null)
C_FILES = $(shell find src_c tests/native -name '*.[ch]' -o -name '*.inc')
CYTHON_FILES = $(shell find fastnn -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi')

# $(call new_venv,options and folder)
define new_venv
$(PYTHON) -m venv $(1) || { echo "$(PYTHON) -m venv failed: install venv (on Debian: apt install \
python3-venv) or name another Python, for example PYTHON=python3.12" >&2; exit 1; }
endef

.PHONY: help demo test test-cuda-simulated test-sklearn test-sklearn-oldest test-tsan \
    test-sanitized test-exhaustive test-aarch64 arm-tools coverage bench bench-cuda bench-custom \
    bench-kernels bench-scaling bench-sklearn bench-tabular bench-write lint format build clean \
    FORCE
.NOTPARALLEL:
help:
	@echo 'make demo     train the first network, in a venv of its own'
	@echo 'make test     build the wheel, install it, test it   (TESTS=tests/test_x.py ARGS="-k name")'
	@echo 'make test-cuda-simulated   the CUDA backend, on a GPU that Numba simulates; make test calls it'
	@echo 'make test-sklearn   the tests of scikit-learn, with our estimators in the place of its own;'
	@echo 'make test-sklearn-oldest   with the oldest scikit-learn that we take; make test calls both'
	@echo 'make test-tsan the thread pool under ThreadSanitizer'
	@echo 'make test-sanitized   the C core under AddressSanitizer, on every code path (gcc; slow)'
	@echo 'make test-aarch64     the path of ARM, on an emulated processor   (Debian and Ubuntu; slow)'
	@echo 'make test-exhaustive  exp, tanh and the others at every float32 (ARGS=exp: one)'
	@echo 'make coverage make test, and which lines of Python no test ran'
	@echo 'make lint     ruff, mypy, cython-lint, clang-format'
	@echo 'make format   rewrite the sources as lint wants them'
	@echo 'make build    the wheel and the sdist, into dist/'
	@echo 'make bench    fastnn beside other libraries   (ARGS=--quick, ARGS=--write, ARGS=--help)'
	@echo 'make bench-cuda      on a GPU, beside PyTorch and JAX; their versions for CUDA are to be there'
	@echo 'make bench-custom    activations of your own beside the built-in ones   (ARGS="mish relu")'
	@echo 'make bench-scaling   how a step grows with width, batch, depth and threads   (ARGS=--write)'
	@echo 'make bench-sklearn   the estimators beside those of scikit-learn   (ARGS=--quick, ARGS=--write)'
	@echo 'make bench-tabular   tables, beside gradient boosting and scikit-learn   (ARGS=--write)'
	@echo 'make bench-write     the results into README.md and docs, without measuring'
	@echo 'make bench-kernels   every kernel and network alone, by pytest-benchmark   (ARGS="-k NAME")'
	@echo 'make clean    remove all that these made, the venvs included'
	@echo 'PYTHON=python3.12 chooses the interpreter of new venvs (make clean drops the old ones)'

# The demo: the first thing that somebody runs who has just cloned this.
demo: .venv/.installed
	.venv/bin/fastnn train digits

.venv/.installed: $(SOURCES)
	@test -x .venv/bin/pip || $(call new_venv,.venv)
	.venv/bin/python -m pip install --quiet .
	@touch $@

# The tests: of the installed wheel, from another folder, so that the checkout cannot be imported.
# ARGS=-n0 runs them one by one.
ON_ALL_CORES = -n auto --dist worksteal
PYTEST_ARGS = -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR) -p no:cacheprovider \
    $(abspath $(TESTS)) $(ARGS)

test: .venv-test/.installed
	@rm -rf build/test-run && mkdir -p build/test-run
	cd build/test-run && FASTNN_WHEEL="$$(echo $(CURDIR)/build/test-dist/*.whl)" \
	    $(CURDIR)/.venv-test/bin/python -m pytest $(ON_ALL_CORES) $(PYTEST_ARGS)
	$(if $(filter-out tests,$(TESTS))$(ARGS),,$(MAKE) test-cuda-simulated test-sklearn \
	    test-sklearn-oldest)

# The CUDA backend without a GPU. Numba simulates one only where it is told so before its import, so
# these tests have a process of their own, in which nothing else runs.
test-cuda-simulated: TESTS = tests/cuda
test-cuda-simulated: .venv-test/.installed
	@mkdir -p build/test-run
	cd build/test-run && NUMBA_ENABLE_CUDASIM=1 \
	    $(CURDIR)/.venv-test/bin/python -m pytest $(ON_ALL_CORES) $(PYTEST_ARGS)

# The tests that scikit-learn has for its own perceptrons, run with ours in their place. Small
# products: more threads of BLAS would only stand in each other's way.
SKLEARN_TESTS = -c $(CURDIR)/tests/sklearn_suite/pytest.ini --rootdir . \
    --pyargs sklearn.neural_network.tests.test_mlp
test-sklearn: .venv-test/.installed
	@mkdir -p build/test-run
	cd build/test-run && OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/tests/sklearn_suite \
	    $(CURDIR)/.venv-test/bin/python -m pytest $(SKLEARN_TESTS) $(ARGS)

# The same, and our tests of the estimators, with the oldest scikit-learn that we take and what it
# works with, of its time.
OLDEST_SKLEARN = 'scikit-learn==1.6.*' 'numpy==2.2.*' 'scipy==1.15.*' 'pandas==2.2.*' 'pytest<9'
test-sklearn-oldest: TESTS = $(wildcard tests/test_sklearn_*.py)
test-sklearn-oldest: .venv-sklearn/.installed
	@mkdir -p build/test-run
	cd build/test-run && OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/tests/sklearn_suite \
	    $(CURDIR)/.venv-sklearn/bin/python -m pytest $(SKLEARN_TESTS) $(ARGS)
	cd build/test-run && $(CURDIR)/.venv-sklearn/bin/python -m pytest $(ON_ALL_CORES) $(PYTEST_ARGS)

.venv-sklearn/.venv:
	@$(call new_venv,--clear .venv-sklearn)
	.venv-sklearn/bin/python -m pip install --quiet $(OLDEST_SKLEARN) \
	    'polars==1.31.*' pytest-timeout pytest-xdist threadpoolctl tqdm
	@touch $@

.venv-sklearn/.installed: .venv-sklearn/.venv .venv-test/.installed
	.venv-sklearn/bin/python -m pip install --quiet --force-reinstall --no-deps build/test-dist/*.whl
	@touch $@

# The thread pool, watched for data races. No forks: a child of a process with threads may not start
# any under ThreadSanitizer. Some versions of it start only where addresses are not random.
TSAN_CLAIMS = 'every_item_once 1000000' 'callers_at_once 20000' workers_help a_task_may_run_a_job \
    signals_reach_the_main_thread exit_while_they_spin exit_while_they_sleep
test-tsan:
	@mkdir -p build
	$(CC) -std=c11 -O1 -g -fsanitize=thread -Isrc_c src_c/pool.c tests/native/pool_driver.c \
	    -o build/pool_tsan -pthread
	@fixed="$$(setarch -R true 2>/dev/null && echo setarch -R)"; for claim in $(TSAN_CLAIMS); do \
	    echo "$$claim"; $$fixed build/pool_tsan $$claim || exit 1; done

# The C core, watched for memory that is not its own and for what C leaves undefined; compiling it
# takes minutes. Python is not built for this, so the runtime of gcc is loaded before it, and its own
# allocator is left out.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -g1
test-sanitized: TESTS = $(patsubst %,tests/test_%.py,kernels_oracle kernels_equivalence \
    predictions same_bits)
test-sanitized: .venv-test/.installed
	CFLAGS='$(SANITIZE)' LDFLAGS='$(SANITIZE)' .venv-test/bin/python setup.py --quiet build \
	    --build-base build/sanitized --build-lib build/sanitized/lib
	@mkdir -p build/test-run
	@cd build/test-run && ran= && for isa in avx512 avx2 neon base; do \
	    FASTNN_ISA=$$isa $(CURDIR)/.venv-test/bin/python -c 'import fastnn.backends.native' \
	        2>/dev/null || continue; \
	    echo "$$isa"; ran=yes; \
	    FASTNN_ISA=$$isa PYTHONPATH=$(CURDIR)/build/sanitized/lib PYTHONMALLOC=malloc \
	        ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" \
	        $(CURDIR)/.venv-test/bin/python -m pytest -k native -o timeout=900 $(PYTEST_ARGS) \
	        || exit 1; \
	done; test "$$ran" || { echo "no code path could be run" >&2; exit 1; }

# Every function on every path at all 2**32 numbers: some minutes a function on one core.
test-exhaustive:
	$(PYTHON) tests/ulp.py $(ARGS)

# The path of ARM on an emulated processor, whose packages come from the distribution: they are
# unpacked below build, and nothing is installed. setup.py runs there too, and calls the compiler of
# this machine. Tests of the reference, which is the same everywhere, are left out.
ARM = $(CURDIR)/build/aarch64
ARM_TOOLS = aarch64-linux-gnu-gcc qemu-aarch64 apt-get dpkg-deb
ARM_APT = apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
    -o Dir::State=$(ARM)/apt -o Dir::State::status=/dev/null -o Dir::Cache=$(ARM)/apt
ARM_WHEELS = $(foreach tag,_2_28 _2_27 _2_17 2014,--platform manylinux$(tag)_aarch64) \
    cython hypothesis 'numpy>=2.0' pytest pytest-timeout setuptools tqdm
test-aarch64: TESTS = $(patsubst %,tests/test_%.py,kernels_oracle kernels_equivalence kernels_tiles \
    kernels_denormals philox vecmath same_bits)
test-aarch64: arm-tools $(ARM)/.unpacked .venv-test/.installed
	@mkdir -p build/test-run
	cd build/test-run && $(CURDIR)/.venv-test/bin/python -m pytest -c $(CURDIR)/pyproject.toml \
	    --rootdir $(CURDIR) -p no:cacheprovider -k neon $(CURDIR)/tests/test_machine_code.py
	CC=aarch64-linux-gnu-gcc CFLAGS="$$(printf -- '-I%s ' $(ARM)/system/usr/include/python3.*) \
	    -idirafter $(ARM)/system/usr/include" PYTHONPATH=$(ARM)/site \
	    $(ARM)/python setup.py --quiet build --build-base $(ARM)/build --build-lib $(ARM)/lib
	cd build/test-run && CC=aarch64-linux-gnu-gcc EMULATOR='qemu-aarch64 -L $(ARM)/system' \
	    PYTHONPATH=$(ARM)/lib:$(ARM)/site PYTHONDONTWRITEBYTECODE=1 \
	    $(ARM)/python -m pytest -k 'not reference' -o timeout=900 $(PYTEST_ARGS)

arm-tools:
	@for tool in $(ARM_TOOLS); do command -v $$tool >/dev/null || { echo "test-aarch64 needs $$tool, \
	which is not here: apt install gcc-aarch64-linux-gnu qemu-user" >&2; exit 1; }; done

$(ARM)/.unpacked: .venv-test/.venv
	@rm -rf $(ARM) && mkdir -p $(ARM)/apt/lists/partial $(ARM)/apt/archives/partial $(ARM)/system
	$(ARM_APT) update
	$(ARM_APT) install --download-only --no-install-recommends -y \
	    libpython3-dev libstdc++6 python3-minimal
	@for package in $(ARM)/apt/archives/*.deb; do dpkg-deb -x $$package $(ARM)/system; done
	@printf '#!/bin/sh\nexec qemu-aarch64 -L %s -0 "$$0" %s "$$@"\n' \
	    $(ARM)/system $(ARM)/system/usr/bin/python3 > $(ARM)/python && chmod +x $(ARM)/python
	.venv-test/bin/python -m pip install --quiet --target $(ARM)/site --only-binary=:all: \
	    --python-version "$$($(ARM)/python -c 'import platform; print(platform.python_version())')" \
	    $(ARM_WHEELS)
	@touch $@

coverage: .venv-test/.installed
	@rm -rf build/test-run && mkdir -p build/test-run
	cd build/test-run && FASTNN_WHEEL="$$(echo $(CURDIR)/build/test-dist/*.whl)" \
	    $(CURDIR)/.venv-test/bin/python -m coverage run --rcfile $(CURDIR)/pyproject.toml \
	    -m pytest $(PYTEST_ARGS)
	cd build/test-run && $(CURDIR)/.venv-test/bin/python -m coverage report \
	    --rcfile $(CURDIR)/pyproject.toml

.venv-test/.venv:
	@$(call new_venv,--clear .venv-test)
	.venv-test/bin/python -m pip install --quiet 'build>=1.2'
	@touch $@

# Changes when a file comes or goes, which the dates of the other files do not show.
build/files: FORCE
	@mkdir -p build && printf '%s\n' $(sort $(SOURCES) $(wildcard tests/*.py tests/*/*.py)) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

.venv-test/.installed: .venv-test/.venv build/files $(SOURCES)
	rm -rf build/test-dist
	.venv-test/bin/python -m build --outdir build/test-dist .
	.venv-test/bin/python -m pip install --quiet --force-reinstall --no-deps build/test-dist/*.whl
	.venv-test/bin/python -m pip install --quiet "$$(echo build/test-dist/*.whl)[test]"
	@touch $@

build: .venv-test/.venv
	rm -rf dist
	.venv-test/bin/python -m build .

# The benchmarks: of the installed package too. BENCH_PYTHON=... names a Python that has fastnn, and
# of the other libraries whichever are to be compared, instead of a venv with all of them.
BENCH_PYTHON ?= .venv-bench/bin/python
BENCH_VENV = $(filter .venv-bench/%,$(BENCH_PYTHON:python=.installed))
# For another folder: a path made absolute, a bare name left to be looked up.
BENCH_PYTHON_ANYWHERE = $(if $(findstring /,$(BENCH_PYTHON)),$(abspath \
    $(BENCH_PYTHON)),$(BENCH_PYTHON))

bench: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/compare.py $(ARGS)

# The tests of the backend run first, on the device.
bench-cuda: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/cuda_compare.py $(ARGS)

bench-custom: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/custom.py $(ARGS)

bench-scaling: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/scaling.py $(ARGS)

bench-sklearn: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/sklearn_compare.py $(ARGS)

bench-tabular: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/tabular.py $(ARGS)

bench-write: $(BENCH_VENV)
	$(BENCH_PYTHON) benchmarks/documents.py $(ARGS)

bench-kernels: $(BENCH_VENV)
	@mkdir -p build/benchmarks/run
	cd build/benchmarks/run && $(BENCH_PYTHON_ANYWHERE) -m pytest \
	    -c $(CURDIR)/benchmarks/pytest.ini -p no:cacheprovider \
	    --benchmark-autosave $(CURDIR)/benchmarks $(ARGS)

.venv-bench/bin/.installed: $(SOURCES)
	@test -x .venv-bench/bin/pip || $(call new_venv,.venv-bench)
	.venv-bench/bin/python -m pip install --quiet '.[bench]'
	@touch $@

# Lint needs no compiled code.
.venv-lint/.installed: pyproject.toml
	@$(call new_venv,--clear .venv-lint)
	FASTNN_NO_NATIVE=1 .venv-lint/bin/python -m pip install --quiet '.[lint]'
	@touch $@

lint: .venv-lint/.installed
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	.venv-lint/bin/mypy
	PATH="$(CURDIR)/.venv-lint/bin:$$PATH" cython-lint $(CYTHON_FILES)
	.venv-lint/bin/clang-format --dry-run -Werror $(C_FILES)

format: .venv-lint/.installed
	.venv-lint/bin/ruff check --fix-only .
	.venv-lint/bin/ruff format .
	.venv-lint/bin/clang-format -i $(C_FILES)

clean:
	rm -rf build dist *.egg-info .venv .venv-test .venv-sklearn .venv-lint .venv-bench \
	    .mypy_cache .ruff_cache .pytest_cache
	find fastnn tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
	find fastnn -name '*.so' -delete

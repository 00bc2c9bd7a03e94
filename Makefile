# minirun. On a new Debian `make run` is all that is needed; `make help` lists the rest.

PYTHON  ?= /usr/bin/python3
DEBIAN   = python3-venv python3-dev gcc libc6-dev libcap-dev iptables iproute2
# What the tests compare with, and what they look at the network with.
FOR_TESTS = docker.io conntrack bridge-utils tcpdump curl jq iputils-ping procps strace bind9-dnsutils xz-utils bzip2 \
            zstd skopeo umoci podman busybox-static python3-pip docker-registry openssl
SOURCES := pyproject.toml setup.cfg $(shell find minirun -name '*.py' -o -name '*.c')
TESTS   ?= tests
FUZZ    ?= headers unpack archive settings manifest name challenges location link moments refusal platform span
SECONDS ?= 300

export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help run alpine test test-vm lint architecture course twin-page bench fuzz clean
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: alpine ## a shell in an Alpine container; without a terminal, a short tour of one
	@if [ -t 0 ] && [ -t 1 ]; then \
	    echo "minirun run -it --rm alpine sh"; minirun run -it --rm alpine sh || [ $$? -lt 125 ]; \
	else \
	    printf '%s' "$$TOUR" | minirun run -i --rm -m 64m --cpus 1 --pids-limit 100 alpine sh; \
	fi

test: alpine .venv/tests ## all tests, as CI runs them; TESTS=tests/unit for some of them
	@status=0; .venv/bin/pytest -m "not vm" -n 3 --dist loadfile --no-loadscope-reorder $(TESTS) || status=$$?; \
	[ $$status = 75 ] || exit $$status; \
	echo "== only timing-sensitive tests have failed: these once more, with nothing beside them"; \
	.venv/bin/pytest -m "not vm" --second-try $(TESTS)

test-vm: alpine .venv/tests ## the tests on a machine with cgroup v2 alone; MINIRUN_VM says how to run one
	@.venv/bin/pytest -m vm $(TESTS)

lint: .venv/tests ## style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

course: .venv/tests ## docs/network-course.md and docs/images.md: run their commands again, write down what they print
	@MINIRUN_WRITE_PAGE=1 .venv/bin/pytest -q tests/cli/test_course_page.py

twin-page: .venv/tests ## docs/twin.md, from the scenarios of the twin test
	@PYTHONPATH=tests .venv/bin/python3 -m harness.twin.docs_page >docs/twin.md

architecture: ## docs/architecture.md, from the code's imports, docstrings and calls
	@$(PYTHON) docs/draw_architecture.py

bench: alpine ## timings against runc and docker, side by side
	@PYTHONPATH=tests .venv/bin/python3 bench/run.py

fuzz: .venv-fuzz/ready ## throw bytes at the readers of images (tests/fuzz), SECONDS=300 for each; FUZZ=unpack for one
	@for target in $(FUZZ); do \
	    echo "== $$target"; \
	    PYTHONPATH=tests .venv-fuzz/bin/python3 tests/fuzz/fuzz.py $$target .fuzz/$$target -max_total_time=$(SECONDS) \
	        -print_final_stats=1 2>.fuzz/$$target.log </dev/null || { tail -20 .fuzz/$$target.log; exit 1; }; \
	    grep number_of_executed_units .fuzz/$$target.log; \
	done

clean: ## remove what make made here; images and containers stay
	@rm -rf .venv .venv-fuzz .fuzz build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# The set-up, each step done once: Debian packages and an environment; minirun in it; an image; what the tests use.

alpine: .venv/installed
	@[ "$$(id -u)" = 0 ] || { echo "minirun needs root: sudo make" >&2; exit 1; }
	@rootfs/alpine

.venv/system: Makefile
	@sh -euc "$$INSTALL" install $(DEBIAN)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "minirun needs Python 3.11: make PYTHON=...")'
	@[ -x .venv/bin/pip ] || { echo "== a Python environment in .venv"; $(PYTHON) -m venv .venv; }
	@.venv/bin/pip install -qq wheel
	@touch $@

.venv/installed: .venv/system $(SOURCES)
	@echo "== minirun, into .venv"
	@rm -rf build
	@.venv/bin/pip install -qq .
	@touch $@

.venv/tests: .venv/installed pyproject.toml
	@echo "== what the tests use"
	@sh -euc "$$INSTALL" install $(FOR_TESTS)
	@.venv/bin/python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print(*project["optional-dependencies"]["test"])' | xargs .venv/bin/pip install -qq
	@touch $@

# PyPI's atheris is heavy and no part of the tests: it gets an environment of its own.
.venv-fuzz/ready: .venv/system $(SOURCES)
	@echo "== minirun and atheris, into .venv-fuzz"
	@[ -x .venv-fuzz/bin/pip ] || $(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/pip install -qq wheel atheris
	@rm -rf build
	@.venv-fuzz/bin/pip install -qq --force-reinstall --no-deps .
	@.venv-fuzz/bin/pip install -qq .
	@mkdir -p .fuzz
	@touch $@

# Install those of the Debian packages "$@" that are missing. A service that comes with one of them is not started:
# invoke-rc.d asks policy-rc.d(8), which says no as long as this takes.
define INSTALL
command -v dpkg-query >/dev/null || exit 0
missing=
for name in "$$@"; do
    dpkg-query -Wf '$${Status}' "$$name" 2>/dev/null | grep -q ' installed' || missing="$$missing $$name"
done
[ "$$missing" ] || exit 0
echo "== Debian packages:$$missing"
[ "$$(id -u)" = 0 ] || { echo "only root can install them: sudo make" >&2; exit 1; }
policy=/usr/sbin/policy-rc.d
[ ! -e $$policy ] || mv $$policy $$policy.kept
trap 'rm -f $$policy; [ ! -e $$policy.kept ] || mv $$policy.kept $$policy' EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\nexit 101\n' >$$policy
chmod 755 $$policy
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --no-install-recommends $$missing >/dev/null
endef
export INSTALL

define TOUR
show() { echo; echo "# $$*"; "$$@"; }
show cat /etc/os-release
show hostname
show ps
show ip addr
show ip route
show ping -c 2 $$(ip route | awk '/default/ { print $$3 }')
cd /sys/fs/cgroup
show grep -s . memory.max cpu.max pids.max memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max
true
endef
export TOUR

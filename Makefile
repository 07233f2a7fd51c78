# `make trace` and `make test` set up what they need, on a bare Debian 12 with Python, as root.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
KERNELS := 6.1 6.12 7
GUEST  := lab/run
# its root is read-only
GUEST_TESTS := env HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis PYTHONUNBUFFERED=1 \
  $(CURDIR)/$(BIN)/pytest -p no:cacheprovider -q tests/lab

.PHONY: trace test check bench conformance vintage docs attaching lab clean

trace: $(STAMP) tracefs  ## count system calls for three seconds with the lab's first script
	$(BIN)/bpfscript -e 'tracepoint:syscalls:sys_enter_* { @calls[probe] = count(); } interval:s:3 { exit(); }'

test: check conformance/.upstream/bpftrace tracefs lab/.cache/6.12/vmlinux  ## check, then all tests
	$(BIN)/pytest
	$(GUEST) -k 6.12 -- $(GUEST_TESTS) -m short

check: $(DEV)  ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

conformance: $(DEV) conformance/.upstream/bpftrace conformance/.upstream-0.17/bpftrace lab/.cache/6.12/vmlinux tracefs  ## the same scripts under upstream and here
	$(BIN)/python -m conformance.runner --lab --report conformance/REPORT.md

docs: $(DEV)  ## the library's pages, from its docstrings, in build/docs
	$(BIN)/python -W error docs/build.py build/docs

vintage: $(DEV) conformance/.upstream-0.17/bpftrace tracefs  ## scripts old enough, under bpftrace 0.17 and here
	$(BIN)/python -m conformance.vintage

bench: $(DEV) conformance/.upstream/bpftrace conformance/.upstream-0.17/bpftrace tracefs  ## ratios to upstream; wants a quiet machine
	$(BIN)/python -m compileall -q bpfscript frontend ir passes backends runtime
	$(BIN)/python -m conformance.bench
	$(BIN)/python -m conformance.compile_scale
	$(BIN)/python -m conformance.instructions 5
	$(BIN)/python -m conformance.executed --rows 5
	$(BIN)/python -m conformance.stream_bench
	$(BIN)/python -m conformance.event_cost

attaching: $(DEV) conformance/.upstream/bpftrace lab/.cache/6.12/vmlinux tracefs  ## docs/attaching.md; wants a quiet machine
	$(BIN)/python -m compileall -q bpfscript frontend ir passes backends runtime
	$(BIN)/python -m conformance.attach_bench
	$(GUEST) -k 6.12 -t 3600 -- $(CURDIR)/$(BIN)/python -m conformance.attach_bench --kinds kprobe,kretprobe,fentry,fexit

lab: $(KERNELS:%=lab-%)  ## the kernel tests in guests with other kernels, one boot each

.PHONY: $(KERNELS:%=lab-%)
$(KERNELS:%=lab-%): lab-%: $(DEV) conformance/.upstream/bpftrace lab/.cache/%/vmlinux
	$(BIN)/python -m compileall -q bpfscript frontend ir passes backends runtime  # the guest has no place to keep it
	mkdir -p lab/.cache/host && cp /sys/kernel/btf/vmlinux lab/.cache/host/btf  # for objects of this machine
	$(BIN)/python lab/corpus.py $*
	$(GUEST) -t 3000 -k $* -- $(GUEST_TESTS)

.PHONY: survey
survey: $(DEV) $(KERNELS:%=lab/.cache/%/vmlinux)  ## docs/kernels.md: which probes and objects run where
	$(BIN)/python lab/survey.py docs/kernels.md

lab/.cache/%/vmlinux: | $(DEV)
	lab/setup.sh $*

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || (apt-get update -qq && apt-get install -y -qq python3-venv)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --config-settings editable_mode=compat -e .
	$(BIN)/python -m bpfscript.frontend.parser --prebuild
	$(BIN)/python -m compileall -q bpfscript frontend ir passes backends runtime
	touch $@

$(DEV): $(STAMP)
	$(BIN)/pip install -q --disable-pip-version-check --config-settings editable_mode=compat -e '.[dev]'
	{ command -v gcc && command -v g++ && command -v clang && command -v bpftool && command -v dtrace; } >/dev/null \
	  || (apt-get update -qq && apt-get install -y -qq gcc g++ clang libc6-dev libbpf-dev bpftool systemtap-sdt-dev)
	touch $@

conformance/.upstream/bpftrace:
	bash conformance/get_upstream.sh conformance/.upstream

conformance/.upstream-0.17/bpftrace:
	bash conformance/get_upstream.sh conformance/.upstream-0.17 bookworm

.PHONY: tracefs
tracefs:
	@test -e /sys/kernel/tracing/events || mount -t tracefs none /sys/kernel/tracing

clean:
	rm -rf $(VENV) conformance/.upstream build *.egg-info

# SPDX-License-Identifier: GPL-2.0-only
# The commands a person types; each is short enough to run by hand.

TARGET := $(or $(CARGO_TARGET_DIR),target)
CACHE := $(or $(BALLAST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/scx_ballast)
BPF_SOURCES = $(wildcard src/bpf/*.c src/bpf/*.h sim/src/shim/*.h)

# The steps of a target are in order: set up, then check, then build.
.NOTPARALLEL:
.PHONY: help setup build demo host-demo test bench bench-guest fmt fmt-check lint deny measure clean-cache

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## Install what building and the guest need (Debian 12+, Ubuntu 24.04+)
	@scripts/setup.sh

build: ## Build the scheduler
	cargo build --release

ifeq ($(HOST),1)
demo: host-demo
else
demo: setup ## Watch it balance a two-socket guest; HOST=1 uses this machine's kernel
	cargo xtask vm demo
endif

host-demo:
	@test -e /sys/kernel/sched_ext || { \
		echo "This kernel ($$(uname -r)) has no sched_ext: use make demo without HOST=1, or boot 6.12 or later with CONFIG_SCHED_CLASS_EXT=y." >&2; \
		exit 1; }
	cargo build --release --package scx_ballast --package ballast-guest
	@if [ "$$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi; \
	$$as_root env PATH="$(abspath $(TARGET))/release:$$PATH" guest-test demo

test: setup lint ## Everything: formatting, lints, unit tests, guest tests
	cargo test --workspace --release
	cargo xtask vm test

bench: setup measure ## Measure the planner, and the promised figures in the guest, three times each
	cargo bench --package scx_ballast

bench-guest: setup ## Measure EEVDF, scx_ballast and its peers side by side; writes docs/benchmarks.md
	cargo xtask vm bench

measure: ## The promised figures alone
	cargo xtask vm run --timeout 7200 -c 'guest-test measure --repeat 3'

fmt: ## Format Rust and BPF sources
	cargo fmt --all
	@clang_format=$$(scripts/clang-format) && $$clang_format -i $(BPF_SOURCES)

fmt-check:
	cargo fmt --all --check
	@echo clang-format --dry-run $(BPF_SOURCES)
	@clang_format=$$(scripts/clang-format) && $$clang_format --dry-run -Werror $(BPF_SOURCES)

lint: fmt-check deny ## Check formatting, lints, licences and advisories
	cargo clippy --workspace --all-targets --release -- -D warnings

deny:
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny check; \
	else \
		echo "note: licences and advisories not checked (cargo install --locked cargo-deny)"; \
	fi

# What the harness makes in the cache.
CACHED := apt bench build-job initramfs kernels logs peers kernels.lock peers.lock vm.lock
# By name: CACHE may be a folder that holds other things too.
clean-cache: ## Remove what was downloaded, built and measured into the cache
	@if [ -e "$(CACHE)/vm.lock" ]; then \
		flock --nonblock "$(CACHE)/vm.lock" true || { echo "a guest is running: nothing removed"; exit 1; }; \
	fi
	cd "$(CACHE)" 2>/dev/null && rm -rf $(CACHED) || true

# What a developer and CI run. `make test` is all that a fresh clone needs; it wants Rust, a C compiler and Python 3
# with venv. Everything that is made lies in the target directory of cargo.

SHELL      := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))

TRIPLE     := $(shell rustc -vV | sed -n 's/^host: //p')
E2E        := $(CARGO_TARGET_DIR)/e2e
VENV       := $(E2E)/venv
PYTEST     := $(VENV)/bin/python -m pytest -c tests/pytest.ini
BINARY     := $(CARGO_TARGET_DIR)/debug/logweir
# Static: the image holds nothing but this file and the CA certificates. An explicit --target keeps the flag away from
# build scripts and proc macros, which cannot be static.
STATIC     := RUSTFLAGS='-C target-feature=+crt-static' cargo
IMAGE_BIN  := $(CARGO_TARGET_DIR)/$(TRIPLE)/release/logweir
IMAGE      ?= logweir
FUZZ_TIME  ?= 20

.PHONY: help build check test e2e faults lint deny bench gate gate-baseline fuzz image demo clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | column -t -s $$'\t'

# With the tests: what they ask of tokio would have every dependency compiled twice otherwise.
build: ## the binary, dev profile
	cargo build --locked --bins --tests

check: ## types only, and the example configs
	cargo check --locked --all-targets
	cargo check --locked --all-targets --no-default-features
	$(MAKE) configs

configs: build ## the example configs through `check` and their own `tests:`
	for config in config/*.yaml; do \
	  LOG_BUCKET=logs AWS_REGION=ap-northeast-1 $(BINARY) check --config $$config; \
	  LOG_BUCKET=logs AWS_REGION=ap-northeast-1 $(BINARY) test --config $$config; \
	done
.PHONY: configs

test: build $(VENV)/.done $(E2E)/node/.done ## all tests but the Docker ones; the faults in their short form (root, strace)
	cargo test --locked
	LOGWEIR_BINARY=$(BINARY) PATH=$(VENV)/bin:$$PATH NODE_PATH=$(E2E)/node/node_modules \
	  $(PYTEST) tests/e2e tests/faults

e2e: static $(VENV)/.done ## a real Docker daemon with the fluentd log driver, the binary on the host and as image (root)
	LOGWEIR_BINARY=$(IMAGE_BIN) $(PYTEST) tests/docker

# FAULTS='-k SIGKILL' picks cases, LOGWEIR_FAULTS_SEED=N repeats a run.
faults: $(VENV)/.done ## the fault suite in its long form, an hour and more; a table for the README at its end (root, strace)
	cargo build --locked --release --bin logweir
	LOGWEIR_FAULTS=long LOGWEIR_BINARY=$(CARGO_TARGET_DIR)/release/logweir $(PYTEST) -o timeout=14400 tests/faults $(FAULTS)

lint: ## format, clippy, docs, licences
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items
	$(MAKE) deny

deny: ## licences, sources, duplicates (cargo install cargo-deny --locked)
	cargo deny --locked check licenses bans sources

bench: ## all benches; what a GB costs is one of them: `cargo bench --bench cost_per_gb -- --help`
	cargo bench --locked

# The allocator is glibc's: jemalloc's work would depend on its threads. Valgrind finds what to count by its symbol.
# STAGE=rules picks stages by a part of their name.
gate gate-baseline: export CARGO_PROFILE_BENCH_STRIP := false

gate: ## instructions of each stage against benches/instructions.baseline; fails beyond 3 % (valgrind)
	cargo bench --locked --no-default-features --bench instructions -- $(STAGE)

gate-baseline: ## writes what `gate` measures
	cargo bench --locked --no-default-features --bench instructions -- --write $(STAGE)

# Unoptimized: this shows that they run, and shares what the tests compiled.
bench-smoke: ## every bench runs, briefly
	for bench in $$(cargo metadata --no-deps --format-version 1 \
	    | python3 -c 'import json,sys; print(*(t["name"] for p in json.load(sys.stdin)["packages"] for t in p["targets"] if "bench" in t["kind"]))'); do \
	  cargo bench --locked --profile dev --bench $$bench -- --test; \
	done
.PHONY: bench-smoke

fuzz: ## each fuzz target for FUZZ_TIME seconds (nightly, cargo install cargo-fuzz --locked)
	for target in $$(cargo +nightly fuzz list); do \
	  mkdir -p $(CARGO_TARGET_DIR)/fuzz/corpus/$$target $(CARGO_TARGET_DIR)/fuzz/artifacts/$$target; \
	  CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz cargo +nightly fuzz run $$target \
	    $(CARGO_TARGET_DIR)/fuzz/corpus/$$target $$(ls -d fuzz/seeds/$$target 2>/dev/null || true) -- \
	    -artifact_prefix=$(CARGO_TARGET_DIR)/fuzz/artifacts/$$target/ \
	    -max_total_time=$(FUZZ_TIME) -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1; \
	done

static: ## the static release binary of the image
	$(STATIC) build --locked --release --target $(TRIPLE) --bin logweir
.PHONY: static

image: static $(VENV)/.done ## builds the image, starts it under dockerd and asks it for its health (root)
	LOGWEIR_BINARY=$(IMAGE_BIN) LOGWEIR_IMAGE_TAR=$(E2E)/$(IMAGE).tar $(PYTEST) tests/docker -k image
	@echo "$(E2E)/$(IMAGE).tar: docker load < it"

demo: ## the router at work, no AWS account
	cargo run --locked --release -- demo

clean: ## what make and cargo made
	rm -rf $(E2E)
	cargo clean

# The stamps depend on the lists of pinned versions, so that a change of them rebuilds.
$(VENV)/.done: tests/requirements.txt
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	touch $@

# npm comes with the venv: a machine with Rust and Python is enough.
$(E2E)/node/.done: tests/e2e/package.json $(VENV)/.done
	rm -rf $(E2E)/node
	mkdir -p $(E2E)/node
	cp tests/e2e/package.json $(E2E)/node/
	cd $(E2E)/node && PATH=$(VENV)/bin:$$PATH npm install --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

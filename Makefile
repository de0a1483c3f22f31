# What one types here. `make verify` only reads; `make fix` rewrites.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# More arguments for demo, test and bench, as in `make demo ARGS="--members 10"`.
ARGS ?=

# With etcd as a backend, whose client needs protoc when it is built; CI has it.
ETCD := --features federated-store/etcd,global-controller/etcd

.DEFAULT_GOAL := help
.PHONY: help demo test conformance verify fix bench bench-store bench-gates bench-rounds bench-fleet bench-objects deny

help: ## This list
	@awk -F ': ## ' '/^[a-z-]+: ## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## A fleet of real clusters on this machine and a rollout over it, live; ONCE=1 ends after it
	@echo "Building the demo; the first time takes minutes, and then again for the clusters' programs, which say so."
	$(CARGO) build --release --workspace --bins --locked
	$(if $(ONCE),ONCE='$(ONCE)') $(TARGET)/release/demo $(ARGS)

# The programs first, so that no test's own deadline has to bear their building.
test: ## The whole suite, on real clusters and in a real browser
	scripts/browser
	$(CARGO) build --release --workspace --bins --locked
	$(TARGET)/release/assets >/dev/null
	$(CARGO) test --release --workspace --locked $(ARGS)
	$(MAKE) conformance

# Its own target folder: the feature changes those of shared dependencies, and each run of the suite would build twice.
conformance: ## What every backend of the store promises, also on a real etcd of three members; needs protoc
	scripts/protoc
	$(CARGO) build --release --workspace --bins --locked
	etcd=$$($(TARGET)/release/assets | grep '/etcd$$') && CONFORMANCE_ETCD=$$etcd CARGO_TARGET_DIR='$(TARGET)/etcd' \
		$(CARGO) test --release --package federated-store --features etcd --test conformance --locked $(ARGS)

verify: ## Format, lints, generated files and the purity of crates; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked $(if $(shell command -v protoc),$(ETCD)) -- --deny warnings
	$(CARGO) run --quiet --locked --package crds --bin crdgen -- --check deploy/crds
	scripts/purity

fix: ## Formats, and generates deploy/crds anew
	$(CARGO) fmt --all
	$(CARGO) run --quiet --locked --package crds --bin crdgen -- deploy/crds

# Files go below target: /tmp may be memory, where nothing is ever made durable.
bench: ## Puts a second of the store, against a bare append; ARGS=SECONDS for each line
	@mkdir -p target/bench
	TMPDIR='$(CURDIR)/target/bench' $(CARGO) run --release --locked --package federated-store --example puts -- $(ARGS)

# A target folder of its own: with etcd's client the features differ, and the others would be built anew each time.
bench-store: ## The store and etcd side by side, to docs/bench/store.json, 15 minutes; QUICK=1 looks in five
	$(CARGO) build --release --workspace --bins --locked
	@mkdir -p target/bench
	etcd="$$($(TARGET)/release/assets | grep '/etcd$$')" && \
	CARGO_TARGET_DIR='$(TARGET)/etcd' $(CARGO) build --release --locked --package federated-store --features etcd \
		--example bench_store && \
	TMPDIR='$(CURDIR)/target/bench' ETCD="$$etcd" $(if $(QUICK),QUICK='$(QUICK)') \
		'$(TARGET)/etcd/release/examples/bench_store' $(ARGS)

bench-gates: ## False alarms and detection times of the control group's test, to docs/bench/gates.md, a minute
	$(CARGO) build --release --workspace --locked --example bench_gates
	'$(TARGET)/release/examples/bench_gates'

bench-rounds: ## What measuring a fleet costs: many members in a question, beside a question for each, on a real Prometheus
	$(CARGO) build --release --workspace --bins --locked
	$(CARGO) build --release --workspace --locked --example bench_rounds
	'$(TARGET)/release/examples/bench_rounds'

bench-fleet: ## What measuring 500 members costs a real controller, with fake agents, 15 minutes; ARGS=MEMBERS for another number
	$(CARGO) build --release --workspace --bins --locked
	$(CARGO) build --release --workspace --locked --example bench_fleet
	'$(TARGET)/release/examples/bench_fleet' $(ARGS)

bench-objects: ## What whole objects cost a controller beside images, with fake agents, a minute; ARGS=MEMBERS for another number
	$(CARGO) build --release --workspace --bins --locked
	$(CARGO) build --release --workspace --locked --example bench_objects
	'$(TARGET)/release/examples/bench_objects' $(ARGS)

deny: ## Advisories, licences and sources of dependencies; needs cargo-deny and the network
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
		echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	$(CARGO) deny --locked check

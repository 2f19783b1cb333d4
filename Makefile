# The commands of this repository. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run app cluster release test test-release check simulate mutants mutants-sql bench bench-decode bench-store setup clean
MAKEFLAGS += --no-print-directory

cargo := cargo
browser := tests/browser
sdk := clients/typescript
app := clients/web
# Where cargo puts what it builds. `make run`, `make cluster` and the tests share its `debug`.
target := $(or $(CARGO_TARGET_DIR),target)
# An older release is of another generation (src/store/leases.rs) and cannot run beside this one.
oldest_beside := 0.3.0
# The Rust tests, by cargo-nextest: see .config/nextest.toml.
nextest = PATH="$$(scripts/nextest):$$PATH" $(cargo) nextest run --locked

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: ## build, and serve on this machine with SQLite; prints the address to open
	@scripts/build-server
	@$(target)/debug/raidhall serve

app: $(app)/dist/index.html ## build the web app, which the server's build includes

$(app)/dist/index.html: $(shell find $(app)/src $(app)/public $(sdk)/src) $(app)/index.html $(wildcard $(app)/*.ts $(app)/*.json $(sdk)/*.json) scripts/web-app
	@scripts/web-app

cluster: ## three instances behind a load balancer, with PostgreSQL and Redis; play, and kill them: scripts/cluster
	@scripts/setup cluster
	@scripts/build-server
	scripts/cluster start

release: ## the optimized server: target/release/raidhall, its symbols beside it
	scripts/release

test: ## all tests of a change, with real PostgreSQL, Redis and browser (installs what is missing); FILTER=name runs Rust tests by name
	scripts/setup test
	$(MAKE) --silent app
ifdef FILTER
	scripts/with-services bash -ec '$(nextest) --workspace --status-level pass -E "test($(FILTER))"'
else
	scripts/with-services bash -ec '$(nextest) --workspace; $(cargo) test --locked --workspace --doc; \
	  npm --prefix $(sdk) test; npm --prefix $(app) test; npm --prefix $(browser) test'
endif

test-release: ## the long tests: advisories, a roll from the previous release, Schemathesis, slowhttptest, proxies, traces, Lighthouse
	scripts/setup release-test
	scripts/check-advisories --required
	$(MAKE) --silent app
	previous=$$(scripts/previous-release $(oldest_beside)) && schemathesis=$$(scripts/schemathesis) && \
	RAIDHALL_TEST_PREVIOUS=$$previous RAIDHALL_TEST_SCHEMATHESIS=$$schemathesis \
	  scripts/with-services bash -ec '$(nextest) --profile release --features otel --test reality; npm --prefix $(browser) run test:release'

check: ## formatting, style, lints, documentation, alerts, dependencies, scripts
	scripts/setup check
	$(cargo) fmt --all --check
	scripts/check-style
	$(MAKE) --silent app
	npm --prefix $(sdk) run check
	npm --prefix $(app) run check
	$(cargo) clippy --workspace --all-targets --locked -- -D warnings
	$(cargo) clippy --workspace --all-targets --locked --features otel -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(cargo) doc --workspace --no-deps --document-private-items --locked
	promtool check rules config/prometheus/alerts.yaml
	promtool test rules config/prometheus/tests.yaml
	$(cargo) deny --log-level error --workspace check bans licenses sources
	scripts/check-advisories
	scripts/mutants --check
	shellcheck $$(grep -lE '^#.*\bbash$$' scripts/*) .ci/run

simulate: ## simulated clusters under random faults: SEEDS=n, or SECONDS=n, from the seed FIRST=n on; PLAN='{...}' replays one
	RAIDHALL_SIMULATE_SEEDS='$(SEEDS)' RAIDHALL_SIMULATE_SECONDS='$(SECONDS)' RAIDHALL_SIMULATE_FIRST='$(FIRST)' \
	  RAIDHALL_SIMULATE_PLAN='$(PLAN)' $(cargo) test --locked --profile simulation -p raidhall --lib -- --exact \
	  simulation::tests::random_plans_keep_every_promise --nocapture

mutants: ## which deliberate faults of the server the simulator notices: SEEDS=n for each, ONLY=name
	SEEDS='$(SEEDS)' ONLY='$(ONLY)' scripts/mutants

mutants-sql: ## whether the tests of SQL notice its deliberate faults, with a real PostgreSQL: ONLY=name
	ONLY='$(ONLY)' scripts/mutants --sql

bench: app ## a short load test of the optimized server
	$(cargo) build --release --locked --workspace --bins
	$(cargo) run --release --locked -p raidhall-loadtest -- smoke --raids 200 --players 4 --seconds 20 --spawn

bench-decode: ## what the most expensive message costs to decode, in both codecs
	$(cargo) bench --locked -p raidhall-protocol --bench decode

bench-store: ## the commit rate of both stores: SQLite, and a real PostgreSQL
	scripts/setup test
	scripts/with-services $(cargo) bench --locked --bench store

setup: ## install what test and check need
	scripts/setup

clean: ## remove what was built; data/ stays
	$(cargo) clean
	rm -rf $(browser)/node_modules $(foreach package,$(sdk) $(app),$(addprefix $(package)/,node_modules build dist))

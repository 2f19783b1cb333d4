# The commands of this repository. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run app cluster test check bench bench-store setup clean
MAKEFLAGS += --no-print-directory

cargo := cargo
browser := tests/browser
sdk := clients/typescript
app := clients/web
# An older release cannot be an instance of a cluster, nor run beside this one.
first_cluster_release := 0.2.0

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: app ## build and serve on this machine, with SQLite; it prints where to play
	$(cargo) run --release --locked --bin raidhall -- serve

app: $(app)/dist/index.html ## the web app, which is built into the server

$(app)/dist/index.html: $(shell find $(app)/src $(app)/public $(sdk)/src) $(app)/index.html $(wildcard $(app)/*.ts $(app)/*.json $(sdk)/*.json) scripts/web-app
	scripts/web-app

cluster: app ## three instances behind a load balancer, with a PostgreSQL and a Redis; play, and kill them: scripts/cluster
	scripts/setup cluster
	$(cargo) build --release --locked --bin raidhall
	scripts/cluster start

test: ## everything, beside a real PostgreSQL, a real Redis and a real browser (installs what is missing)
	scripts/setup test
	$(MAKE) app
	previous=$$(scripts/previous-release $(first_cluster_release)) && schemathesis=$$(scripts/schemathesis) && \
	$(cargo) build --workspace --locked && \
	RAIDHALL_TEST_PREVIOUS=$$previous RAIDHALL_TEST_SCHEMATHESIS=$$schemathesis \
	  scripts/with-services bash -ec '$(cargo) test --workspace --locked; \
	    $(cargo) test --locked --features otel --test reality traces::; npm --prefix $(sdk) test; npm --prefix $(app) test; npm --prefix $(browser) test'

check: ## formatting, style, lints, documentation, alerts, dependencies, scripts
	scripts/setup check
	$(cargo) fmt --all --check
	scripts/check-style
	$(MAKE) app
	npm --prefix $(sdk) run check
	npm --prefix $(app) run check
	$(cargo) clippy --workspace --all-targets --locked -- -D warnings
	$(cargo) clippy --workspace --all-targets --locked --features otel -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(cargo) doc --workspace --no-deps --document-private-items --locked
	promtool check rules config/prometheus/alerts.yaml
	promtool test rules config/prometheus/tests.yaml
	$(cargo) deny --log-level error --workspace check bans licenses sources
	shellcheck $$(grep -lE '^#.*\bbash$$' scripts/*) .ci/run

bench: app ## a short load test against a server of its own
	$(cargo) build --release --locked --workspace --bins
	$(cargo) run --release --locked -p raidhall-loadtest -- smoke --raids 200 --players 4 --seconds 20 --spawn

bench-store: ## how fast the stores commit: SQLite, and a real PostgreSQL
	scripts/setup test
	scripts/with-services $(cargo) bench --locked --bench store

setup: ## install what test and check need, nothing else
	scripts/setup

clean: ## remove what was built; data/ stays
	$(cargo) clean
	rm -rf $(browser)/node_modules $(foreach package,$(sdk) $(app),$(addprefix $(package)/,node_modules build dist))

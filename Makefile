# Jitney. `make run` is a city on your machine; `make test` is everything CI does after `make check`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# A fresh clone in CI shares the dependencies it has already built.
ifdef CI
export CARGO_TARGET_DIR ?= $(HOME)/.cache/jitney-target
export CARGO_INCREMENTAL ?= 0
endif
export CARGO_TERM_COLOR ?= auto
target_dir := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup web clients build run test check fmt clean fuzz-api load bench

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

setup: ## What the other targets need (Postgres, a linker); quick when it is there
	@deploy/setup.sh

web: ## The web pages, if node and npm are there; quick when nothing changed
	@gateway/web/build.sh

clients: ## What the tests of the generated client and of the pages need, if node and npm are there
	@deploy/npm-ci.sh tests/clients/typescript clients 20 "the test of the TypeScript client will be SKIPPED"
	@deploy/setup.sh tests
	@deploy/npm-ci.sh tests/web "web tests" 18 "the tests of the pages will be SKIPPED"

build: setup web ## The program, for development
	@cargo build --quiet --package jitney-cli

run: build ## A living city on this machine: services, database, map, a small fleet
	@exec $(target_dir)/debug/jitney up $(ARGS)

test: setup web clients ## Every test
	@cargo build --workspace --quiet
	@cargo test --workspace --quiet $(ARGS)

check: setup web ## Formatting, lints with warnings denied, proto lint, house rules
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- --deny warnings
	@cargo test --quiet --package jitney-proto --test jitney contract::

fmt: ## Format everything
	@cargo fmt --all

clean: ## Remove what was built and the development data
	@cargo clean
	@rm -rf .jitney gateway/web/dist

fuzz-api: build ## Odd requests to a sandbox from its own OpenAPI document; needs Python
	@tests/clients/fuzz.sh $(target_dir)/debug/jitney $(ARGS)

load: build ## The scenarios of tests/load, with ghz where it is there; ARGS are scenario files, TOTAL calls of each
	@tests/load/run.sh $(target_dir)/debug/jitney $(ARGS)

bench: setup web ## Every figure in short, by a release build, into docs/performance.md
	@cargo build --release --quiet --package jitney-cli
	@$(target_dir)/release/jitney bench all --write docs/performance.md $(ARGS)

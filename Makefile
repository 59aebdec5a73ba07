PYTHON ?= python3

.PHONY: help demo test test-all lint manifest docs bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## render a project, start it on its sandbox, speak through the official SDK; no key, about a minute
	@$(PYTHON) scripts/dev.py demo

test: ## everything but the full matrix
	@$(PYTHON) scripts/dev.py test

test-all: ## with the full matrix of answers
	@$(PYTHON) scripts/dev.py test-all

lint: ## ruff and mypy over the generator (rendered code is judged by the tests)
	@$(PYTHON) scripts/dev.py lint

manifest: ## write the hashes of speech/ into its MANIFEST.json
	@$(PYTHON) scripts/dev.py manifest

docs: ## write docs/cli.md from the command line's own help
	@$(PYTHON) scripts/dev.py docs

bench: ## against an exact semaphore, the raw SDK and SDK + semaphore + tenacity
	@$(PYTHON) scripts/dev.py bench

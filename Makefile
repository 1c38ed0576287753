# Every task of the project; `make` lists them.

bin := .venv/bin
# Where this is set, each of the many processes of a run would compile LiteLLM and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run lock stubs wheel release lint tools collector clients test coverage train-classifier eval-classifier eval-selector eval-free-tier catalog bench bench-peers overload faults fuzz load attacks chaos chart chart-server programs packages eval-learning capacity

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

setup: ## create or update .venv (PYTHON=... names another interpreter)
	@PYTHON="$(PYTHON)" scripts/setup

# The tether ends the services when make itself is killed.
run: setup ## start everything on this machine (TOGETHER=1: the four services in one process); Ctrl-C stops it
	@exec $(if $(TOGETHER),env LUMNI_LOCAL_TOGETHER=$(TOGETHER)) $(bin)/python -I -S services/local/tether.py $$PPID 15 - $(bin)/python -m services.local

lock: setup ## resolve the dependencies anew into locks/
	@scripts/lock

stubs: setup ## compile protos/ into protos/gen
	@scripts/stubs

wheel: setup ## build wheel and sdist into dist/, and try the wheel in an empty environment (needs a package index)
	@rm -rf dist && $(bin)/uv build --quiet --no-build-isolation --python $(bin)/python --out-dir dist
	@scripts/try_wheel dist/lumni-*.whl

release: setup ## build wheel, sdist, bills of materials, chart and images of this version into dist/, and try them (CHART=no, IMAGES=no)
	@scripts/release

lint: setup ## ruff, mypy and buf
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/buf lint
	$(bin)/buf format --diff --exit-code

tools: programs packages ## install what some tests run, if Go, apt and npm are there: grpcurl, ghz, vegeta, compose-go, HAProxy, promtool, Redis with TLS, Chromium, packages of Node

programs: setup
	@$(bin)/python -m tests.tools

packages: setup
	-@$(bin)/python -m tests.clients.environments node openid

collector: setup ## build OpenTelemetry's collector from Go modules (minutes), and run deploy/collector.yaml in it
	@$(bin)/python -m tests.tools otelcol
	$(bin)/pytest tests/deploy/test_collector.py -v

chart: setup ## build helm from Go modules (minutes), render deploy/kubernetes and check it
	@$(bin)/python -m tests.tools helm
	$(bin)/python scripts/kubernetes_manifests.py
	$(bin)/pytest tests/deploy/test_kubernetes.py tests/deploy/test_chart.py -v

chart-server: setup ## build etcd, kube-apiserver and helm from Go modules (a quarter of an hour), and apply deploy/kubernetes for real
	@$(bin)/python -m tests.tools custom-resources etcd kube-apiserver helm
	$(bin)/pytest tests/deploy/test_api_server.py -v

clients: tools ## install the SDKs, frameworks and coding agents that people call LLMs with (1.2 GB), and run each against Lumni
	$(bin)/python -m tests.clients.environments node python openid agents
	$(bin)/pytest tests/flow/test_clients.py -v

# Two at once share two cores well, as most tests wait for something; tests/conftest.py says which stay together.
WORKERS ?= 2

# Where Python is told to keep no compiled files, each run and each process that tests start would compile all anew.
TESTS = env -u PYTHONDONTWRITEBYTECODE $(bin)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

# What tests run is mostly fetched, which takes little of the processors; mypy takes one of them for minutes.
test: setup ## lint, then all tests
	@$(MAKE) --no-print-directory --jobs --output-sync=target lint tools
	$(TESTS)

coverage: tools ## all tests, and the lines that none of them runs; tracing takes as long as the tests themselves
	$(TESTS) --cov --cov-report=term:skip-covered --cov-fail-under=80

# Public data; docs/data.md says where it comes from.
DATA ?= ../shared/data/routing
# Clones of the repositories of scripts/score_sources.py.
SOURCES ?= .lumni/score-sources
READ ?= $(shell date +%F)

train-classifier: setup ## train the classifier's weights anew (DATA=folder of routing data)
	$(bin)/python -m services.classifier.training.courtesies
	$(bin)/python -m services.classifier.training.train --data $(DATA)
	$(bin)/python -m services.classifier.training.stack

PART ?= development
eval-classifier: setup ## measure the classifier on a part of its corpus (DEEP=1 the deep version beside it, DATA=folder of routing data for outcomes too, PLOT=picture)
	$(bin)/python -m services.classifier.training.evaluate --part $(PART) $(if $(DEEP),--deep) $(if $(wildcard $(DATA)),--data $(DATA)) $(if $(PLOT),--plot $(PLOT))

eval-selector: setup ## quality against cost of classify-and-select (DATA=folder of routing data)
	$(bin)/python -m scripts.evaluate_selector --data $(DATA)
	$(bin)/python -m scripts.evaluate_evidence --data $(DATA)

eval-free-tier: setup ## a day of traffic on free tiers: the strategy free_first against others
	$(bin)/python scripts/evaluate_free_tier.py

eval-learning: setup ## simulated users with a drift: regret with and without learning from outcomes (PLOT=picture)
	$(bin)/python -m tests.bench.learning $(if $(PLOT),--plot $(PLOT))

catalog: setup ## make prices and the selector's catalog anew (SOURCES=folder of clones of public repositories, made if missing; READ=date)
	$(bin)/python -m scripts.prices
	$(bin)/python -m scripts.catalog --sources $(SOURCES) --date $(READ)

bench: setup ## CPU, added latency, streams and memory of each arrangement (SHORT=1 in minutes, PLOT=picture)
	$(bin)/python -m tests.bench.road $(if $(SHORT),--short) $(if $(PLOT),--plot $(PLOT))

bench-peers: setup ## the same for LiteLLM's proxy, alone and with two workers, and Portkey's gateway beside Lumni, and the ratios (SHORT=1 in minutes; needs npm)
	$(bin)/python -m tests.bench.peers $(if $(SHORT),--short)

overload: setup ## latency and refusals at 1, 2 and 5 times of capacity, with a greedy tenant and nine modest ones
	$(bin)/python -m tests.bench.overload

attacks: MINUTES ?= 30
attacks: setup ## every attack script in turn beside honest clients (MINUTES=30), then count every bill again
	$(bin)/python -m tests.attacks --minutes $(MINUTES)

REQUESTS ?= 3000

faults: setup ## kill, freeze, empty and restart everything under load, then count every bill again
	$(bin)/python -m tests.faults --requests $(REQUESTS)

fuzz: MINUTES ?= 10
fuzz: setup ## CPU time of the parsers, 3,000 malformed bodies over HTTP, then random bytes for every RPC, route and parser (MINUTES=10); what fails is kept in tests/fuzz/cases
	$(bin)/python -m tests.fuzz.cpu_time
	$(bin)/python -m tests.fuzz --minutes $(MINUTES)

load: tools ## run ghz on every RPC and vegeta over HTTP against the simulator, and write a report (needs Go to install both; RATE=20 answers a second, STREAMS=10)
	$(bin)/python -m tests.load $(if $(RATE),--rate $(RATE)) $(if $(STREAMS),--streams $(STREAMS))

chaos: tools ## faults over a network of namespaces: partitions, loss, kills, rolling restarts, bad versions, clock steps, a soak (DRILL=name, MINUTES=10 and of the soak 30, RATE=100 a second, STREAMS=50; Linux, root)
	$(bin)/python -m tests.chaos --report .lumni/chaos.md $(if $(MINUTES),--minutes $(MINUTES)) $(if $(DRILL),--drill $(DRILL)) $(if $(RATE),--rate $(RATE)) $(if $(STREAMS),--streams $(STREAMS))

capacity: setup ## CPU a request of each service, the curve from 1 to 4 replicas under CPU quotas, and what 1,000 to 100,000 requests a second need: written into docs/scaling.md (hours of a quiet machine; CHECK=1 only prints)
	$(bin)/python -m tests.load.capacity $(if $(CHECK),--check)

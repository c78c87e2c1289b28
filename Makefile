# Everything that is done with this tree by command. `make help` lists it; the variables are explained in docs/testing.md.

# What bench-peers and bench-alerts build is other people's programs, too much for anything that is done in every module.
PEERS := internal/peerbench/peers internal/peerbench/rules
MODULES := $(filter-out $(PEERS),$(patsubst ./%,%,$(patsubst %/go.mod,%,$(sort $(shell find . -name go.mod -not -path '*/.*/*')))))
VERSION_STATICCHECK := v0.8.2
VERSION_GOLANGCI := v2.15.0
VERSION_GOSEC := v2.30.0
VERSION_GOVULNCHECK := v1.9.0
VULNDB ?=
FUZZTIME ?= 30s
BENCHMARKS ?= .
ARGS ?=

# Each module is built with its own requirements, as an importer gets it; go.work is for editors and plain go commands.
export GOWORK := off

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $(or $(CC),cc) gcc 2>/dev/null),-race)
TALLY ?= $(CURDIR)/build/tally
REPORTS ?= $(CURDIR)/build/reports
export TALLY
tally := go run ./internal/house/tally
each = @set -e; for module in $(MODULES); do echo "$$module: $(1)" >&2; (cd "$$module" && $(1)); done

.DEFAULT_GOAL := help

##@ Use

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: ## berthd with a simulated fleet of 200 hosts and a dashboard (ARGS: more of its flags)
	go run -C examples ./berthd --simulate 200 $(ARGS)

.PHONY: vm
vm: ## a real virtual machine from request to SSH, as root on Debian (IMAGE=debian, BENCH=10, KILL=1)
	go run -C internal/integration ./vm $(if $(IMAGE),-image $(IMAGE)) $(if $(BENCH),-bench $(BENCH)) $(if $(KILL),-kill) $(ARGS)

.PHONY: vm-fleet
vm-fleet: ## a fleet of libvirt, OpenStack and Proxmox VE: drained, cut off, fenced, back; as root on Debian (TRANSCRIPT=1 writes docs/vm-fleet.md)
	go run -C internal/integration ./vmfleet $(if $(TRANSCRIPT),-transcript "$(CURDIR)/docs/vm-fleet.md") $(ARGS)

.PHONY: openstack-up
openstack-up: ## a real OpenStack from Debian packages on loopback, as root; prints the variables that name it
	@internal/integration/openstack/up.sh

.PHONY: openstack-down
openstack-down: ## stop it again (WIPE=1: remove its data too)
	@internal/integration/openstack/down.sh $(if $(WIPE),--wipe)

##@ Build and check, in every module

.PHONY: build
build: ## compile everything
	$(call each,go build ./...)

.PHONY: vet
vet: ## go vet
	$(call each,go vet ./...)

.PHONY: tidy
tidy: ## bring go.mod and go.sum up to date
	$(call each,go mod tidy)

.PHONY: tidy-check
tidy-check: ## fail if go.mod or go.sum is not up to date
	$(call each,go mod tidy -diff)

.PHONY: lint
lint: style gosec vulncheck ## style, gosec and vulncheck

.PHONY: style
style: vet ## gofmt, go vet and staticcheck
	@unformatted=$$(find . -name '*.go' -not -path './build/*' -exec gofmt -l {} +); [ -z "$$unformatted" ] || { echo "gofmt differs: $$unformatted" >&2; exit 1; }
	$(call each,go run honnef.co/go/tools/cmd/staticcheck@$(VERSION_STATICCHECK) ./...)

# What gosec is not asked, nowhere:
#   G104  errors that are not looked at: errcheck's subject, which knows what never fails (make golangci)
#   G115  conversions of integers: it does not see what bounds a value before; what comes from outside is summed with checks (package pool)
#   G304  files that a variable names: operators name them; what a request could name G703 follows
#   G602  indexes: it does not follow lengths through calls; out of range stops a program, and gives nothing away
# and what it is not asked of simulations, suites of tests and programs that build and test this tree, which serve nobody:
#   G404  random numbers that are to be the same each time;  G705  what a suite's own fake of a service answers
#   G101, G204, G30x, G70x  programs that they start and files that they write, where whoever calls them says
GOSEC_EXCLUDE := G104,G115,G304,G602
GOSEC_EXCLUDE_IN := (^|/)(examples/berthsim|hypervisor/(fake|hypervisortest)|notify/notifytest|pool/ledgertest|internal/(house|integration|mutants|overlay|peerbench))/:G101,G204,G301,G302,G306,G404,G702,G703,G705

.PHONY: gosec
gosec: ## gosec in all modules but the peers; what it is wrong about is said at the line, with the reason
	go run github.com/securego/gosec/v2/cmd/gosec@$(VERSION_GOSEC) -quiet -nosec-require-rules -nosec-require-justification \
		-exclude '$(GOSEC_EXCLUDE)' -exclude-rules '$(GOSEC_EXCLUDE_IN)' $(addprefix -exclude-dir ,build $(PEERS)) ./...

.PHONY: vulncheck
vulncheck: ## govulncheck in all modules but the peers (VULNDB=which database, file:// or https://)
	go run ./internal/house/vulncheck -db '$(VULNDB)' -with golang.org/x/vuln/cmd/govulncheck@$(VERSION_GOVULNCHECK) $(MODULES)

.PHONY: golangci
golangci: ## golangci-lint with .golangci.yml; it takes some minutes to build the first time
	$(call each,go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(VERSION_GOLANGCI) run --config "$(CURDIR)/.golangci.yml" ./...)

.PHONY: generate
generate: ## make generated files anew
	$(call each,go generate ./...)

.PHONY: generate-check
generate-check: ## fail if a generated file is not up to date
	@internal/house/generated.sh

.PHONY: importing
importing: ## measure docs/importing.md anew
	go run -C internal/integration ./importing

.PHONY: importing-check
importing-check: ## fail if an importer gets other modules than docs/importing.md says
	go run -C internal/integration ./importing -check

.PHONY: check
check: style gosec tidy-check generate-check ## style, gosec, tidy-check and generate-check

.PHONY: screenshot
screenshot: ## take docs/dashboard.png, docs/plan.png, docs/charts.png and docs/messages.png anew, in a real browser
	BERTHD_SCREENSHOT="$(CURDIR)/docs/dashboard.png" BERTHD_SCREENSHOT_PLAN="$(CURDIR)/docs/plan.png" BERTHD_SCREENSHOT_CHARTS="$(CURDIR)/docs/charts.png" \
	BERTHD_SCREENSHOT_MESSAGES="$(CURDIR)/docs/messages.png" go test -C examples -count=1 ./berthd/browser

.PHONY: docs
docs: ## check links, code, commands and claims in the documents
	go test -count=1 -run "Documents|Readme|Local" ./internal/house

##@ Test

# What runs in which part: packages, after a colon if they are not the root module's, less those in the directories after exclamation marks.
# A package of tests that stands in no part, or in two, fails test-house.
PARTS := $(EXTRA) test-unit test-sim test-mutants test-alerts test-acceptance test-messages test-mail test-oidc test-ledgers test-drivers test-browser test-vm
test-unit-packages := ./...!/hypervisor examples:./...!/browser!/customdriver \
	$(addprefix internal/integration:./,audit drivers guest/... importing readme testbed vmfleet) auth/oidc:./... notify/shoutrrr:./...
test-alerts-packages := $(addprefix internal/integration:./,alertmanager rulefiles)
test-acceptance-packages := internal/integration:./acceptance
test-mail-packages := internal/integration:./mail
test-messages-packages := internal/integration:./messages
test-oidc-packages := internal/integration:./oidc
test-ledgers-packages := $(addprefix internal/integration:./,fleet ledgers)
test-drivers-packages := ./hypervisor/libvirt ./hypervisor/...!/libvirt examples:./customdriver internal/integration:./script
test-drivers-timeout := 30m
test-browser-packages := examples:./berthd/browser/...

# go-test PART: runs the packages of a part, module by module.
define go-test
@set -e; status=0; for p in $($(1)-packages); do \
	module=.; case $$p in *:*) module=$${p%%:*}; p=$${p#*:};; esac; \
	case $$p in *!*) p=$$(go list -C $$module "$${p%%!*}" | grep -v -E "($$(echo "$${p#*!}" | tr '!' '|'))(/|$$)");; esac; \
	$(tally) test -C $$module $(RACE) -count=1 -timeout $(or $($(1)-timeout),15m) $$p || status=1; done; exit $$status
endef

.PHONY: test
test: ## everything, with what could not be run listed at the end; about 40 minutes on two cores
	@rm -rf "$(TALLY)"
	$(if $(RACE),,@$(tally) skip "race detector" "no C compiler")
	@status=0; for part in $(PARTS); do echo "make $$part" >&2; $(MAKE) --no-print-directory $$part || status=1; done; \
	$(tally) summary && exit $$status

.PHONY: test-unit
test-unit: ## the root module and the examples, with the race detector
	$(call go-test,$@)

.PHONY: test-alerts
test-alerts: export BERTHAGE_REPORTS := $(REPORTS)
test-alerts: ## rules on package alert and on the real promtool, messages of it and of Alertmanager, which must agree; how many cases of what
	@mkdir -p "$(REPORTS)" && rm -f "$(REPORTS)"/alerts*
	$(call go-test,$@)
	@cat "$(REPORTS)"/alerts*

.PHONY: test-mail
test-mail: ## mails to emersion/go-smtp and to Debian's Postfix, read back from its mailbox, and in threads by Notmuch
	$(call go-test,$@)

.PHONY: test-messages
test-messages: export BERTHAGE_REPORTS := $(REPORTS)
test-messages: ## what receivers send, judged by prism, slack-go, Standard Webhooks and our own tables; how many requests by whom
	@mkdir -p "$(REPORTS)" && rm -f "$(REPORTS)"/messages*
	$(call go-test,$@)
	@cat "$(REPORTS)"/messages*

.PHONY: test-acceptance
test-acceptance: export BERTHAGE_REPORTS := $(REPORTS)
test-acceptance: ## Alertmanager's own acceptance suite on packages alert and notify, and how many of its tests pass
	@mkdir -p "$(REPORTS)" && rm -f "$(REPORTS)"/acceptance
	$(call go-test,$@)
	@cat "$(REPORTS)"/acceptance

.PHONY: test-oidc
test-oidc: ## log-in at a real provider of OpenID Connect, oidc-provider, and what of it is refused
	$(call go-test,$@)

.PHONY: test-ledgers
test-ledgers: ## the ledger suite on SQLite, PostgreSQL and MariaDB, and a table of what passed where
	@internal/integration/ledgers/servers.sh $(MAKE) --no-print-directory test-ledgers-here

.PHONY: test-ledgers-here
test-ledgers-here: # with the servers that the environment names
	$(call go-test,test-ledgers)

.PHONY: test-drivers
test-drivers: ## the driver suite on every driver that can run here, and a table of what passed where
	@rm -rf "$(REPORTS)" && mkdir -p "$(REPORTS)" && status=0; \
	BERTHAGE_REPORTS="$(REPORTS)" internal/house/daemons.sh $(MAKE) --no-print-directory test-drivers-here || status=1; \
	$(tally) run "the table of drivers" go run -C internal/integration ./drivers -table "$(REPORTS)" || status=1; exit $$status

.PHONY: test-drivers-here
test-drivers-here: # with the libvirt daemons that the environment names
	$(call go-test,test-drivers)

.PHONY: test-openstack
test-openstack: ## the driver suite on a real OpenStack, which is started for it unless it runs; a part of make test-all only
	@internal/integration/openstack/with.sh go test -count=1 -timeout 40m -v -run 'Real' ./hypervisor/openstack

.PHONY: test-cloud
test-cloud: # make test-openstack as a part of make test-all
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then $(tally) skip "make test-openstack" "needs root and Debian, to install and start OpenStack"; \
	else $(tally) run "make test-openstack" $(MAKE) --no-print-directory test-openstack; fi

.PHONY: test-fleet
test-fleet: # make vm-fleet as a part of make test-all
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then $(tally) skip "make vm-fleet" "needs root and Debian, to start libvirt and OpenStack"; \
	else $(tally) run "make vm-fleet" $(MAKE) --no-print-directory vm-fleet TRANSCRIPT= ARGS=; fi

.PHONY: test-browser
test-browser: ## the dashboard in a real browser
	$(call go-test,$@)

.PHONY: test-vm
test-vm: ## make vm with the tiny guest
	@if [ "$$(uname -s)" != Linux ]; then $(tally) skip "make vm" "needs Linux with libvirt and qemu"; \
	elif [ "$$(id -u)" != 0 ]; then $(tally) skip "make vm" "needs root, to start libvirtd and a network"; \
	else $(tally) run "make vm" $(MAKE) --no-print-directory vm IMAGE= BENCH= ARGS="-alert 60s" && \
	$(tally) run "make vm, berthd killed three times" $(MAKE) --no-print-directory vm IMAGE= BENCH= ARGS=-kill; fi

.PHONY: sim
sim: ## the simulation with faults at every step (LAUNCHES=20000, SEED=1, SEEDS=how many worlds instead, TRACE=of what)
	@overlay=$$(go run ./internal/overlay/exact) && \
	BERTHAGE_LAUNCHES=$(or $(LAUNCHES),20000) BERTHAGE_SEED=$(SEED) BERTHAGE_SEEDS=$(SEEDS) BERTHAGE_TRACE="$(TRACE)" \
	go test -C internal/simulation -overlay "$$overlay" -count=1 -timeout $(if $(LAUNCHES),48h,20m) -run '^TestSimulation$$'

.PHONY: mutants
mutants: ## seed bugs one at a time, each of which the tests must catch (RUN=which)
	@go run ./internal/mutants $(RUN)

.PHONY: test-sim
test-sim: # make sim as a part of make test
	@$(tally) run "make sim" $(MAKE) --no-print-directory sim LAUNCHES= SEED= SEEDS=

.PHONY: test-mutants
test-mutants: # make mutants as a part of make test
	@$(tally) run "make mutants" $(MAKE) --no-print-directory mutants RUN=

.PHONY: test-check
test-check: # make check as a part of make test
	@$(tally) run "make check" $(MAKE) --no-print-directory check

.PHONY: test-vulncheck
test-vulncheck: # make vulncheck as a part of make test
	@$(tally) run "make vulncheck" $(MAKE) --no-print-directory vulncheck

.PHONY: test-peers
test-peers: # make bench-peers and make bench-alerts as a part of make test
	@$(tally) run "make bench-peers" $(MAKE) --no-print-directory bench-peers ARGS=
	@$(tally) run "make bench-alerts" $(MAKE) --no-print-directory bench-alerts ARGS=

.PHONY: test-house
test-house: ## the rules of the house only: imports, documentation, builds for every system
	go test -count=1 ./internal/house/...

.PHONY: test-all
test-all: ## make check, make vulncheck, make bench-peers, make bench-alerts, make test-openstack, make vm-fleet and make test, with long rounds
	$(MAKE) test EXTRA="test-check test-vulncheck test-peers test-cloud test-fleet" BERTHAGE_LEDGER_ROUNDS=4 BERTHAGE_LIBVIRT_DISTURB=1 BERTHAGE_SYSTEMS=all

.PHONY: test-race
test-race: ## the concurrency tests many times over (COUNT=20)
	go test -race -count=$(or $(COUNT),20) -run '$(or $(RUN),Race|Racing|Concurren)' ./...

.PHONY: bench
bench: ## every benchmark, with allocations (BENCHMARKS: which)
	$(call each,go test -run='^$$' -bench='$(BENCHMARKS)' -benchmem ./...)

.PHONY: bench-peers
bench-peers: ## processor time of a placement beside that of Nomad and kube-scheduler (ARGS: its flags)
	cd internal/peerbench/peers && go mod tidy -diff && go vet . && go run . $(ARGS)

.PHONY: bench-alerts
bench-alerts: ## processor time of alerting rules beside that of Prometheus (ARGS: its flags)
	cd internal/peerbench/rules && go mod tidy -diff && go vet . && go run . $(ARGS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@internal/house/fuzz.sh $(FUZZTIME) $(MODULES)

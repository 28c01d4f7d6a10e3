# make demo   builds and runs the whole journey of one order; needs Go alone
# make build-pkcs11  builds with PKCS#11, for an HSM; needs gcc as well
# make test   installs what the tests need (with apt, as root) and runs them all,
#             those whose code touches the database most also on PostgreSQL
# make test-postgres  runs the whole suite on PostgreSQL
# make bench  measures against the peers, side by side
# make crash  has a factory's processes die at every step; CRASHTIME=1h kills at random for as long
# make fuzz   runs every fuzz target for FUZZTIME; scripts/fuzz --total 60s all of them in a minute
# make simulate  runs whole factories under SEED for SIMTIME
# make lint   runs the linters that are pinned in tools/go.mod

GO       ?= go
FUZZTIME ?= 30s
SEED     ?= 1
SIMTIME  ?= 10m
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
export CGO_ENABLED = 0

# What touches the database most, and the journey of an order; make test-postgres
# runs the rest as well.
ON_BOTH := ./order ./datagen ./custody ./access ./stock ./hlr ./release ./notice ./bureau ./plant ./operator

# Tests wait for disks, servers and browsers as long as they compute: four
# packages at a time keep two processors at work, the longest first. vet has looked before.
TEST := $(GO) test -p 4 -vet=off

.PHONY: all build build-pkcs11 demo test test-postgres packages vet bench crash fuzz simulate lint clean

all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

# The libraries of HSMs are C.
build-pkcs11:
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build
	bin/ankan demo

test: packages vet
	$(TEST) -timeout 14m ./test/... ./...
	CGO_ENABLED=1 $(TEST) -timeout 10m ./hsm/pkcs11/... ./test/hardware/...
	ANKAN_TEST_DATABASE=postgres $(TEST) -timeout 10m $(ON_BOTH)
	ANKAN_TEST_DATABASE=postgres $(TEST) -timeout 10m -run 'TestJourney|TestRefuseAccepted|TestDatabaseDies' ./test/factory

test-postgres: packages
	ANKAN_TEST_DATABASE=postgres $(TEST) -timeout 30m ./...
	ANKAN_TEST_DATABASE=postgres CGO_ENABLED=1 $(TEST) -timeout 10m ./test/hardware/...

# The peers that the tests run against; see scripts/packages.
packages:
	@scripts/packages

vet:
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) vet ./hsm/pkcs11/... ./test/hardware/...
	@python3 docs/check-links.py

bench: build
	bin/ankan bench vectors
	bin/ankan bench audit
	bin/ankan bench line
	bin/ankan bench order --cards 1000000
	bin/ankan bench sftp

# A factory's processes die at every step that outlives them, and every step
# fails, on both databases. CRASHTIME=1h kills at random moments for an hour, on each.
CRASHTIME ?= 1m
crash:
	$(GO) test -timeout 0 ./test/crash -v -every -time $(CRASHTIME)
	ANKAN_TEST_DATABASE=postgres $(GO) test -timeout 0 ./test/crash -v -every -time $(CRASHTIME)

fuzz:
	@scripts/fuzz $(FUZZTIME)

simulate: build
	bin/ankan simulate --seed $(SEED) --for $(SIMTIME)

lint:
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	CGO_ENABLED=1 $(GO) tool -modfile=tools/go.mod staticcheck ./hsm/pkcs11/... ./test/hardware/...

clean:
	rm -rf bin ankan-demo

# SPDX-License-Identifier: Apache-2.0
# make test   all tests; with root also the restores by real runtimes
# make soak   the tests with random input, for longer: SOAK times as much
# make bench  what premount costs beside others, into docs/performance.md (takes root for the restores)
# make profile  where its instructions and system calls go
# make demo   a restore that fails without premount, and succeeds with it (takes root)
# make        the program: target/HOST/release/premount, static

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# Static, so that it runs on any node and in any container. That takes a named target: without one
# the flag would be for build scripts and procedural macros too.
CARGO = RUSTFLAGS="-C target-feature=+crt-static" cargo
FLAGS = --locked --target $(HOST)
ROOTS := target/e2e

.PHONY: all
all: tools
	$(CARGO) build --release $(FLAGS)

# The release build is what tests/cost.rs counts.
RELEASE := $(CURDIR)/target/$(HOST)/release/premount
.PHONY: test
test: all roots
	PREMOUNT_RELEASE_BINARY=$(RELEASE) $(CARGO) test $(FLAGS)

# Where there is memory for it, the files that are measured on lie there: disks differ more than memory.
BENCH = TMPDIR=$$(test -w /dev/shm && echo /dev/shm || echo /tmp) $(CARGO) bench $(FLAGS)
.PHONY: bench
bench: TOOLS += $(BENCH_TOOLS)
bench: all roots
	$(BENCH) --bench pure
	PREMOUNT_RELEASE_BINARY=$(RELEASE) $(BENCH) --profile dev --bench bench

.PHONY: profile
profile: tools
	$(CARGO) build --profile profiling $(FLAGS)
	PREMOUNT_RELEASE_BINARY=$(CURDIR)/target/$(HOST)/profiling/premount \
		$(BENCH) --profile dev --bench bench -- profile

# The tests with random input, SOAK times as much; and more containers against the model.
SOAK := 20
.PHONY: soak
soak: tools roots
	PREMOUNT_SOAK=$(SOAK) PREMOUNT_MODEL_CASES=$$((3000 * $(SOAK))) $(CARGO) test --release $(FLAGS) \
		--test attackers --test model_walk --test restore -- --nocapture

.PHONY: demo
demo: all $(ROOTS)/debian-13
	@test "$$(id -u)" = 0 || { echo "make demo takes root: it starts and restores containers" >&2; exit 1; }
	@unshare --mount --pid --fork --kill-child tests/enter.sh $(ROOTS)/debian-13 \
		-f target/$(HOST)/release/premount=/usr/libexec/oci/hooks.d/premount \
		-f tests/demo.sh=/demo.sh /bin/sh /demo.sh </dev/null

.PHONY: lint
lint: tools
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

# Advisories, licences and sources of the dependencies; takes cargo-deny and the advisory database.
.PHONY: deny
deny:
	cargo deny check

# What the tests and the demo take from the system. As root on Debian it is installed.
TOOLS := cc:gcc debootstrap:debootstrap strace:strace unshare:util-linux valgrind:valgrind
# And what the bench does: the baselines are in these.
BENCH_TOOLS := bash:bash jq:jq python3:python3
.PHONY: tools
tools:
	@missing=; for tool in $(TOOLS); do \
		command -v "$${tool%%:*}" >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	test -z "$$missing" || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update && \
			DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing; \
		else \
			echo "Missing:$$missing. Please install." >&2; exit 1; \
		fi; \
	}

# The roots for the restores. Without root they are neither made nor used, and the tests say so.
.PHONY: roots
roots: tools
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) $(ROOTS)/debian-13 $(ROOTS)/debian-13-sid; fi

.PHONY: $(ROOTS)/debian-13
$(ROOTS)/debian-13: tools
	@tests/root.sh $@

.PHONY: $(ROOTS)/debian-13-sid
$(ROOTS)/debian-13-sid: $(ROOTS)/debian-13
	@tests/root.sh $@ sid $(ROOTS)/debian-13

.PHONY: clean
clean:
	rm -rf --one-file-system target

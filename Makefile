# SPDX-License-Identifier: Apache-2.0
# make test   all tests; with root also the restores by real runtimes
# make soak   the tests with random input, for longer: SOAK times as much
# make mutants  which changes of the core no quick test notices (hours)
# make bench  what premount costs beside others, into docs/performance.md (takes root for the restores)
# make profile  where its instructions and system calls go
# make demo   a restore that fails without premount, and succeeds with it (takes root)
# make packages   the packages in target/packages: deb, rpm, tarball, image context, checksums
# make        the program: target/HOST/release/premount, static

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# Static, so that it runs on any node and in any container, and linked to a fixed place: one that can lie
# anywhere relocates itself at every start (docs/performance.md; docs/security.md says what that gives up).
# That takes a named target: without one the flags would be for build scripts and procedural macros too.
CARGO = RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" cargo
FLAGS = --locked --target $(HOST)
ROOTS := target/e2e
CARGO_DEB := target/tools/cargo-deb-3.8.0/bin/cargo-deb
CARGO_GENERATE_RPM := target/tools/cargo-generate-rpm-0.21.1/bin/cargo-generate-rpm
CARGO_MUTANTS := target/tools/cargo-mutants-25.3.1/bin/cargo-mutants
VALIDATOR := target/tools/kubernetes-validate-1.37.0/bin/kubernetes-validate

.PHONY: all
all: tools
	$(CARGO) build --release $(FLAGS)

# The release build is what tests/cost.rs counts.
RELEASE := $(CURDIR)/target/$(HOST)/release/premount
.PHONY: test
test: all roots next-packages $(VALIDATOR)
	PREMOUNT_RELEASE_BINARY=$(RELEASE) PREMOUNT_VALIDATOR=$(VALIDATOR) $(CARGO) test $(FLAGS)

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

.PHONY: packages
packages: all $(CARGO_DEB) $(CARGO_GENERATE_RPM)
	$(CARGO) run $(FLAGS) --example generate -- target/generated
	packaging/packages.sh target/packages 1 $(HOST) $(CARGO_DEB) $(CARGO_GENERATE_RPM)

# What the tests of the packages take beside them: a next release to upgrade to, and for rpm, whose
# database knows nothing of the Debian that it is tested on, a package that stands for its /bin/sh.
.PHONY: next-packages
next-packages: packages
	packaging/packages.sh target/packages-next 2 $(HOST) $(CARGO_DEB) $(CARGO_GENERATE_RPM)
	$(CARGO_GENERATE_RPM) --output target/packages-next/shell.rpm \
		--set-metadata 'name = "shell"' --set-metadata 'provides = { "/bin/sh" = "*" }' \
		--set-metadata 'require-sh = false' --set-metadata 'assets = []' \
		--set-metadata 'post_install_script = "true"' \
		--set-metadata 'pre_uninstall_script = "true"' --set-metadata 'post_uninstall_script = "true"'

# What makes and checks the packages, each of one version in a place of its own.
$(CARGO_DEB):
	cargo install --locked --version 3.8.0 --no-default-features --root $(@D)/.. cargo-deb

$(CARGO_GENERATE_RPM):
	cargo install --locked --version 0.21.1 --root $(@D)/.. cargo-generate-rpm

$(CARGO_MUTANTS):
	cargo install --locked --version 25.3.1 --root $(@D)/.. cargo-mutants

$(VALIDATOR):
	python3 -m venv $(@D)/..
	$(@D)/pip install --quiet kubernetes-validate==1.37.0

# The tests with random input, SOAK times as much; and more containers against the model.
SOAK := 20
.PHONY: soak
soak: tools roots
	PREMOUNT_SOAK=$(SOAK) PREMOUNT_MODEL_CASES=$$((3000 * $(SOAK))) $(CARGO) test --release $(FLAGS) \
		--test attackers --test model_walk --test restore -- --nocapture

# Changes the core one place at a time, and says which changes no quick test notices; MUTANTS are more
# arguments for cargo-mutants, as `-f src/walk.rs`. Hours in all: .cargo/mutants.toml has what and by which.
MUTANTS :=
.PHONY: mutants
mutants: tools $(CARGO_MUTANTS)
	$(CARGO_MUTANTS) mutants --output target $(MUTANTS)

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
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Advisories, licences and sources of the dependencies; takes cargo-deny and the advisory database.
.PHONY: deny
deny:
	cargo deny check

# What the tests and the demo take from the system. As root on Debian it is installed.
TOOLS := cc:gcc debootstrap:debootstrap python3:python3 strace:strace unshare:util-linux valgrind:valgrind
# And what the bench does: the baselines are in these.
BENCH_TOOLS := bash:bash jq:jq
.PHONY: tools
tools:
	@missing=; for tool in $(TOOLS); do \
		command -v "$${tool%%:*}" >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
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

# SPDX-License-Identifier: Apache-2.0
# make           build the program, static: target/HOST/release/premount
# make test      run all tests; as root, also the restores by real runtimes
# make lint      check formatting, clippy and rustdoc, with warnings as errors
# make msrv      build the program with the oldest Rust that is supported (needs root)
# make soak      run the randomised tests for longer: SOAK times as many cases
# make mutants   find changes to the core that no quick test catches (takes hours)
# make bench     measure what premount costs, and update docs/performance.md (the restores need root)
# make profile   show where its instructions and system calls go
# make demo      show restores that fail without premount and succeed with it (needs root)
# make packages  build the packages in target/packages: deb, rpm, tarball, image context, SBOM, checksums
# make deny      check the advisories, licences and sources of the dependencies

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# Static, to run on any node and in any container, and linked to a fixed address: a position-independent
# program relocates itself at every start (docs/performance.md; docs/security.md says what that gives up).
# This needs an explicit target: without one the flags would apply to build scripts and procedural macros too.
STATIC := -C target-feature=+crt-static -C relocation-model=static
# Panics name the sources of dependencies by the same path wherever cargo keeps them.
REMAPPED := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
CARGO = RUSTFLAGS="$(STATIC)" RUSTDOCFLAGS="$(STATIC)" cargo
FLAGS = --locked --target $(HOST)
ROOTS := target/e2e
# What checks the packages; the name says what is in it, so that it is made anew if that changes.
CHECKS := $(ROOTS)/debian-13-fish-lintian-zsh
CARGO_DEB := target/tools/cargo-deb-3.8.0/bin/cargo-deb
CARGO_GENERATE_RPM := target/tools/cargo-generate-rpm-0.21.1/bin/cargo-generate-rpm
CARGO_MUTANTS := target/tools/cargo-mutants-25.3.1/bin/cargo-mutants
VALIDATOR := target/tools/kubernetes-validate-1.37.0/bin/kubernetes-validate

.PHONY: all
all: tools
	RUSTFLAGS="$(STATIC) $(REMAPPED)" cargo build --release $(FLAGS)

# The release build, which tests/cost.rs measures.
RELEASE := $(CURDIR)/target/$(HOST)/release/premount
.PHONY: test
test: all roots next-packages $(VALIDATOR)
	PREMOUNT_RELEASE_BINARY=$(RELEASE) PREMOUNT_VALIDATOR=$(VALIDATOR) \
		PREMOUNT_CARGO_DEB=$(CURDIR)/$(CARGO_DEB) \
		PREMOUNT_CARGO_GENERATE_RPM=$(CURDIR)/$(CARGO_GENERATE_RPM) $(CARGO) test $(FLAGS)

# The benchmarks keep their files in memory if they can: disks vary more than memory.
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
	$(CARGO) build $(FLAGS) --example sbom
	$(CARGO) run $(FLAGS) --example generate -- target/generated
	packaging/packages.sh target/packages 1 $(HOST) $(CARGO_DEB) $(CARGO_GENERATE_RPM)

# What the package tests need as well: a next release to upgrade to and, because the rpm database knows
# nothing about the Debian it is tested on, an rpm that provides /bin/sh.
.PHONY: next-packages
next-packages: packages
	packaging/packages.sh target/packages-next 2 $(HOST) $(CARGO_DEB) $(CARGO_GENERATE_RPM)
	$(CARGO_GENERATE_RPM) --output target/packages-next/shell.rpm \
		--set-metadata 'name = "shell"' --set-metadata 'provides = { "/bin/sh" = "*" }' \
		--set-metadata 'require-sh = false' --set-metadata 'assets = []' \
		--set-metadata 'post_install_script = "true"' \
		--set-metadata 'pre_uninstall_script = "true"' --set-metadata 'post_uninstall_script = "true"'

# Tools that build and check, each pinned to a version and installed in its own directory.
$(CARGO_DEB):
	cargo install --locked --version 3.8.0 --no-default-features --root $(@D)/.. cargo-deb

$(CARGO_GENERATE_RPM):
	cargo install --locked --version 0.21.1 --root $(@D)/.. cargo-generate-rpm

$(CARGO_MUTANTS):
	cargo install --locked --version 25.3.1 --root $(@D)/.. cargo-mutants

$(VALIDATOR):
	python3 -m venv $(@D)/..
	$(@D)/pip install --quiet kubernetes-validate==1.37.0

# The randomised tests, with SOAK times as many cases, and with more containers compared with the model.
SOAK := 20
.PHONY: soak
soak: tools roots
	PREMOUNT_SOAK=$(SOAK) PREMOUNT_MODEL_CASES=$$((3000 * $(SOAK))) $(CARGO) test --release $(FLAGS) \
		--test attackers --test in_process --test restore -- --nocapture

# Changes the core in one place at a time, and reports the changes that no quick test catches. MUTANTS holds
# further arguments for cargo-mutants, such as `-f FILE`. A full run takes hours; .cargo/mutants.toml lists
# the files and the tests.
MUTANTS :=
.PHONY: mutants
mutants: tools $(CARGO_MUTANTS)
	PREMOUNT_MODEL_CASES=1000 $(CARGO_MUTANTS) mutants --output target $(MUTANTS)

.PHONY: demo
demo: all $(ROOTS)/debian-13
	@test "$$(id -u)" = 0 || { echo "make demo needs root: it starts and restores containers" >&2; exit 1; }
	@unshare --mount --pid --fork --kill-child tests/enter.sh $(ROOTS)/debian-13 \
		-f target/$(HOST)/release/premount=/usr/libexec/oci/hooks.d/premount \
		-f tests/demo.sh=/demo.sh /bin/sh /demo.sh </dev/null

.PHONY: lint
lint: tools
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Builds the program with Debian 13's cargo, the oldest that is supported; needs root.
.PHONY: msrv
msrv: roots
	@if [ "$$(id -u)" = 0 ]; then \
		tests/root.sh $(ROOTS)/debian-13-cargo trixie $(ROOTS)/debian-13 cargo && \
		cargo fetch --locked && unshare --mount tests/msrv.sh $(ROOTS)/debian-13-cargo; \
	else \
		echo "skipped: make msrv needs root" >&2; \
	fi

# Advisories, licences and sources of the dependencies; needs cargo-deny and the advisory database.
.PHONY: deny
deny:
	cargo deny check

# What the tests and the demo need from the system, as COMMAND:PACKAGE. As root on Debian, it is installed.
TOOLS := cc:gcc debootstrap:debootstrap git:git python3:python3 strace:strace unshare:util-linux valgrind:valgrind
# What the benchmarks need as well, for the baselines.
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

# The root file systems for the restores. Without root they are neither built nor used, and the tests say so.
.PHONY: roots
roots: tools
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) $(ROOTS)/debian-13 $(ROOTS)/debian-13-sid $(CHECKS); fi

.PHONY: $(ROOTS)/debian-13
$(ROOTS)/debian-13: tools
	@tests/root.sh $@

.PHONY: $(ROOTS)/debian-13-sid
$(ROOTS)/debian-13-sid: $(ROOTS)/debian-13
	@tests/root.sh $@ sid $(ROOTS)/debian-13

.PHONY: $(CHECKS)
$(CHECKS): $(ROOTS)/debian-13
	@tests/root.sh $@ trixie $(ROOTS)/debian-13 "$(subst -, ,$(CHECKS:$(ROOTS)/debian-13-%=%))"

.PHONY: clean
clean:
	rm -rf --one-file-system target

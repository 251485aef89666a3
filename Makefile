# SPDX-License-Identifier: GPL-2.0
#
# cram: build, run and test.  `make help` lists what there is; the work itself is
# in scripts/ and tests/, one script per job, each with --help.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Variables of the command line reach the scripts through the environment.
export CONFIG FLAVOUR LSMOD LINUX_SRC QEMU_SRC SYSTEMD_SRC CRAM_CACHE T JOBS ONLY SEED FAST PARITY

DEPS := build/.deps
CFLAGS_TEST ?= -O2 -g -Wall -Wextra -Wno-unused-parameter -Werror
TESTS := $(patsubst %.c,build/tests/%,$(notdir $(wildcard tests/selftests/*.c tests/emulator/*.c))) build/tests/cold_data

.PHONY: help
help: ## list the targets
	@echo "Targets:"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo
	@echo "For the variables of vm and check see tests/vm/run --help and tests/run-checks --help."

##@ Preparing

.PHONY: deps
deps: $(DEPS) ## install the Debian packages that building and testing need

$(DEPS): scripts/deps scripts/packages.txt
	@scripts/deps
	@mkdir -p $(@D) && touch $@

.PHONY: linux
linux: $(DEPS) ## make or update the kernel tree build/linux: base, patches, new files
	@scripts/kernel-tree

.PHONY: systemd-tree
systemd-tree: $(DEPS) ## make or update the tree build/systemd: Debian's source, patches
	@scripts/systemd --tree

.PHONY: source
source: $(DEPS) ## find or download the Linux source and print what it is
	@scripts/kernel-source $(if $(UPDATE),--update)

##@ Building

.PHONY: kernel
kernel: $(DEPS) ## build the guest kernel (CONFIG=fragment: with further options)
	@scripts/kernel

.PHONY: qemu
qemu: $(DEPS) ## build the emulator with the cxl-cram device (DEVICE=cxl); once, then cached
	@scripts/qemu

.PHONY: systemd
systemd: $(DEPS) ## build a systemd with CRAM*= settings from Debian's source; once, then cached
	@scripts/systemd

.PHONY: crun
crun: $(DEPS) ## build crun with patches/crun (build/crun-cram); once, then cached
	@scripts/crun

.PHONY: tests
tests: $(TESTS) ## build the test programs (build/tests)

# They print by the kernel's kselftest.h
KSELFTEST := build/linux/tools/testing/selftests

$(KSELFTEST)/kselftest.h: | $(DEPS)
	@scripts/kernel-tree

TEST_HEADERS := $(wildcard tests/selftests/*.h tests/emulator/*.h)

vpath %.c tests/selftests tests/emulator

build/tests/%: %.c $(TEST_HEADERS) $(DEPS) | $(KSELFTEST)/kselftest.h
	@mkdir -p $(@D)
	$(CC) -static -D_GNU_SOURCE= $(CFLAGS_TEST) -Itests/selftests -I$(KSELFTEST) $(CPPFLAGS) -o $@ $< -lpthread

# What the documentation shows has to compile as it stands there
build/tests/cold_data.c: Documentation/admin-guide/cgroup-v2-cram.rst scripts/doc-example
	@mkdir -p $(@D)
	@scripts/doc-example $(@F:.c=) $< > $@.new && mv $@.new $@

build/tests/cold_data: build/tests/cold_data.c $(DEPS)
	$(CC) -static -O2 -Wall -Wextra -Werror -o $@ $<

.PHONY: modules
modules: $(DEPS) ## build the test modules (build/modules) for the guest kernel
	@scripts/test-modules

.PHONY: guest-debian
guest-debian: $(DEPS) ## make the Debian guest (GUEST=debian); once, then cached
	@tests/vm/guest-debian > /dev/null

.PHONY: cramcg
cramcg: $(DEPS) ## build the command-line tool cramcg and its library (build/cramcg)
	@$(MAKE) -s -C tools/cramcg B=$(CURDIR)/build/cramcg

# As it is installed, for the Debian guest, which has it before its systemd starts
.PHONY: cramcg-stage
cramcg-stage: $(DEPS)
	@rm -rf build/stage
	@$(MAKE) -s -C tools/cramcg B=$(CURDIR)/build/cramcg DESTDIR=$(CURDIR)/build/stage install-programs

.PHONY: cramcg-tests
cramcg-tests: $(DEPS)
	@$(MAKE) -s -C tools/cramcg B=$(CURDIR)/build/cramcg tests

.PHONY: install
install: cramcg ## install cramcg, its library, manual pages and completion (DESTDIR= PREFIX=/usr/local)
	@$(MAKE) -s -C tools/cramcg B=$(CURDIR)/build/cramcg install

.PHONY: deb
deb: $(DEPS) ## make Debian packages of cramcg, its library and its units (build/deb)
	@scripts/cramcg-deb

.PHONY: kernel-deb
kernel-deb: $(DEPS) ## make Debian packages of the kernel for a real host, which takes hours (FLAVOUR= LSMOD=)
	@scripts/kernel-deb

.PHONY: screens
screens: cramcg build/tests/cxl_user qemu ## record what cramcg shows in a guest, for its documentation (KERNEL=)
	@[ -n "$(KERNEL)" ] || scripts/kernel
	@tools/cramcg/screens/record

##@ Running

.PHONY: vm
vm: $(DEPS) ## boot a guest: CMD=, SCRIPT= with FILES=, or a shell; GUEST= SMP= MEM= DEVICE= ...
	@[ -n "$(KERNEL)" ] || [ -e "$$(scripts/kernel-config --dir "$$CONFIG")/arch/x86/boot/bzImage" ] || scripts/kernel
	@tests/vm/run

.PHONY: run
run: $(DEPS) kernel cramcg-stage ## the demonstration
	@tests/demo/run

.PHONY: check
check: $(DEPS) ## all tests of the short tier (FAST=1: some minutes; SUITES="a b" ONLY=words pick)
	+@tests/run-checks $(SUITES)

.PHONY: check-long
check-long: $(DEPS) ## the suites that take hours
	+@TIER=long tests/run-checks $(SUITES)

BENCHES := $(or $(BENCH),$(filter-out %.sh %.config,$(notdir $(wildcard tests/bench/*))))
.PHONY: bench
# "budget" builds a kernel of its own.
bench: $(DEPS) tests $(if $(filter-out budget,$(BENCHES)),kernel modules qemu) ## what it costs: all of tests/bench, or BENCH="budget hot"
	@status=0; for b in $(BENCHES); do \
		echo "== tests/bench/$$b"; tests/bench/$$b || status=1; done; exit $$status

.PHONY: mutation
mutation: $(DEPS) kernel tests ## switch off one hook at a time: do the ordinary tests notice? (HOOKS="a b" picks)
	@tests/mutation $(HOOKS)

##@ Patches

.PHONY: refresh
refresh: ## write the commits of build/linux to patches/linux (fixups are folded in)
	@scripts/refresh-patches

.PHONY: refresh-systemd
refresh-systemd: ## write the commits of build/systemd to patches/systemd
	@scripts/refresh-patches systemd

.PHONY: verify-patches
verify-patches: $(DEPS) ## apply patches/linux to every base kernel that can be found
	@scripts/verify-patches

.PHONY: series
series: linux ## write the whole work as one patch series to build/series
	@scripts/series

.PHONY: series-stat
series-stat: ## lines added and removed per existing kernel file
	@scripts/series-stat

.PHONY: checkpatch
checkpatch: linux ## run the kernel's checkpatch.pl on patches and new files
	@scripts/checkpatch

.PHONY: shellcheck
shellcheck: $(DEPS) ## check all shell scripts
	@scripts/check-scripts

##@ Cleaning

.PHONY: clean
clean: ## remove what was built, but not build/linux and build/systemd
	rm -rf build/cramcg build/deb build/kbuild* build/tests build/modules build/vm build/check build/series build/crun-cram build/systemd-native $(DEPS)

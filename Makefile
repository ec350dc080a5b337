# SPDX-License-Identifier: GPL-2.0
#
# The front door: `make` lists what there is. The kernel's build system does
# not read this file (it takes Kbuild); the work is done by the scripts of qemu/.
#
# Where the module is built for:
#   make KDIR=/path modules	that kernel build, with the tools of this machine
#   make modules		the running kernel if it is fit for it (Debian's
#				backports kernel, 7.2 or newer), else Debian's
#				kernel in the build root, for the guests

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The kernel that is given, else the running one, else none.
find_kdir = kdir='$(KDIR)'; [ -n "$$kdir" ] || kdir=$$(qemu/hostkernel)
out := $(CURDIR)/build/host
PREFIX ?= /usr/local

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/\1	\2/p' Makefile | expand -t 18

.PHONY: demo
demo: ## boot a guest and show the module at work
	@qemu/demo

.PHONY: demo-jit
demo-jit: ## boot a guest, see code being generated, take its native times
	@qemu/demo-jit

.PHONY: check
check: ## all checks and tests; the last line counts them
	@qemu/setup
	@qemu/check

.PHONY: guest
guest: ## one guest test: TEST=affinity_01, KERNEL=kunit for the other kernel
	@qemu/guesttest '$(TEST)' $(KERNEL)

.PHONY: modules
modules: ## build neural.ko (KDIR=/path for another kernel)
	@$(find_kdir) || exit 1; \
	if [ -n "$$kdir" ]; then \
		grep -qs '^CONFIG_RUST=y' "$$kdir/include/config/auto.conf" || \
			{ echo "neural: $$kdir is no build of a kernel with Rust (CONFIG_RUST)" >&2; exit 1; }; \
		[ "$$(cat $(out)/.kdir 2>/dev/null)" = "$$kdir" ] || rm -rf $(out); \
		mkdir -p $(out) && echo "$$kdir" >$(out)/.kdir && $(MAKE) -C "$$kdir" M=$(CURDIR) MO=$(out) modules; \
	else \
		qemu/build stock; \
	fi

# Kbuild itself runs depmod only where it finds a System.map, and signs only
# with the key of the kernel: neither comes with Debian's headers.
.PHONY: modules_install
modules_install: ## install neural.ko for modprobe, after make modules
	@$(find_kdir) || exit 1; \
	[ -n "$$kdir" ] || { echo "neural: the running kernel cannot load this module: boot Debian's backports kernel (7.2 or newer), or give KDIR=/path" >&2; exit 1; }; \
	$(MAKE) -C "$$kdir" M=$(CURDIR) MO=$(out) CONFIG_MODULE_SIG_ALL= modules_install && \
	depmod $(if $(INSTALL_MOD_PATH),-b "$(INSTALL_MOD_PATH)") "$$(cat "$$kdir/include/config/kernel.release")"

.PHONY: install
install: ## install neuralctl, its man pages and completions below PREFIX (/usr/local)
	@[ -x build/bin/neuralctl ] || qemu/build tools
	@to="$(DESTDIR)$(PREFIX)" && \
	install -D -m 755 build/bin/neuralctl "$$to/bin/neuralctl" && \
	mkdir -p "$$to/share/man/man1" "$$to/share/bash-completion/completions" "$$to/share/zsh/site-functions" && \
	build/bin/neuralctl man -o "$$to/share/man/man1" && \
	build/bin/neuralctl completions bash >"$$to/share/bash-completion/completions/neuralctl" && \
	build/bin/neuralctl completions zsh >"$$to/share/zsh/site-functions/_neuralctl"

.PHONY: shell
shell: ## a guest with the module, the models and the tools, and a prompt
	@qemu/setup stock
	@qemu/build stock
	@qemu/build tools
	@qemu/guest stock --shell

.PHONY: bench
bench: ## native times beside other engines; ARGS=--publish puts them into Documentation
	@mkdir -p build && tests/bench/icount.sh >build/icount
	@tests/bench/run.sh --icount build/icount $(ARGS)

.PHONY: bench-jit
bench-jit: ## native times of generated code beside vector and scalar code; ARGS="300 64-128-8"
	@cd rust && cargo run --quiet --release -p neural_jit --example time -- $(ARGS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each, natively
	@for target in rust/fuzz/targets/*.rs; do \
		rust/fuzz/run.sh "$$(basename "$$target" .rs)" $(or $(FUZZ_SECONDS),60) || exit 1; \
	done

.PHONY: vectors
vectors: ## make the test vectors again from their generators
	@python=$$(tests/vectors/venv.sh tests/vectors/requirements.txt) && \
	for maker in $$(grep -l __main__ tests/vectors/*.py); do "$$python" "$$maker" || exit 1; done

.PHONY: setup
setup: ## fill the cache: build root, Debian's kernel, kunit kernel
	@qemu/setup

.PHONY: clean
clean: ## remove what was built in this checkout
	rm -rf build

.PHONY: distclean-cache
distclean-cache: ## remove the cache of downloads and kernels
	@qemu/uncache

# Everything is built below build/: the products in build/, the instrumented
# ones (SAN=1) in build/san/.  `make help` says what there is.

SHELL    = /bin/bash
SAN     ?=
B       := build$(if $(SAN),/san)
CC      ?= gcc
CLANG   ?= clang
PREFIX  ?= /usr/local
DESTDIR ?=
NGINX_SRC ?= /usr/share/nginx/src
JOBS    ?= $(shell nproc)

WARN     = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
           -Wmissing-prototypes -Wformat=2 -Wno-unused-parameter \
           -Wno-missing-field-initializers
OPT      = $(if $(SAN),-O1,-O2) -g
HARDEN   = $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong
SANFLAGS = $(if $(SAN),-fsanitize=address$(,)undefined \
           -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
,       := ,
CPPFLAGS = -D_GNU_SOURCE -I. -I$(LLHTTP_INC)
SECTIONS = $(if $(SAN),,-ffunction-sections -fdata-sections)
CFLAGS   = -std=gnu11 $(OPT) $(WARN) $(HARDEN) $(SECTIONS) $(SANFLAGS)

# V=1 shows the commands.
V   ?=
Q    = $(if $(V),,@)
say  = @$(if $(V),:,printf '  %-5s%s\n')

VERSION := 0.1.0
CPPFLAGS += -DSANDBOX_VERSION='"$(VERSION)"'

# llhttp: Debian 13 has a library; Debian 12 ships its C sources for Node.
LLHTTP_DIR := $(wildcard /usr/share/llhttp)
ifneq ($(LLHTTP_DIR),)
LLHTTP_INC := /usr/share/include/llhttp
LLHTTP_OBJ  = $(patsubst %,$(B)/llhttp/%.o,api http llhttp)
LLHTTP_LIB  =
else
LLHTTP_INC := /usr/include
LLHTTP_OBJ  =
LLHTTP_LIB  = -lllhttp
endif

COMMON_SRC   := $(wildcard common/*.c)
AGENT_SRC    := $(wildcard agent/*.c)
SANDBOXD_SRC := $(wildcard sandboxd/*.c)
MODULE_SRC   := $(wildcard ngx_sandbox_module/*.c) config \
                $(wildcard ngx_sandbox_module/*.h common/*.h) \
                $(addprefix common/,frame.c process_start.c small_file.c) \
                $(wildcard ngx_sandbox_module/openapi/*.json)
UNIT_SRC     := $(wildcard t/unit/*.c)
FUZZ_SRC     := $(wildcard t/fuzz/*.c)

COMMON_OBJ   := $(COMMON_SRC:%.c=$(B)/obj/%.o)
# The agent has no cryptography in it: nothing inside speaks TLS.
AGENT_COMMON := $(filter-out $(B)/obj/common/frame.o,$(COMMON_OBJ))
AGENT_OBJ    := $(AGENT_SRC:%.c=$(B)/obj/%.o)
SANDBOXD_OBJ := $(SANDBOXD_SRC:%.c=$(B)/obj/%.o)

# The agent is one static binary that runs in any image.  The sanitizers
# can't be linked statically.
LIBUV_A      := $(if $(wildcard /usr/lib/*/libuv_a.a),libuv_a.a,libuv.a)
AGENT_LIBS    = $(if $(SAN),-luv -ljansson -larchive $(LLHTTP_LIB) -lpthread, \
                -static -l:$(LIBUV_A) -l:libjansson.a -l:libarchive.a \
                $(LLHTTP_LIB) -lpthread -ldl)
SANDBOXD_LIBS = -luv -ljansson -lsqlite3 -lcrypto -lseccomp -lnftables -lpthread

.DELETE_ON_ERROR:
.PHONY: all help deps deps-build deps-test deps-long deps-deb deps-vm build \
        agent vm kernel image sandboxd module unit driver fuzz run test test-long bench install deb \
        sdk-docs clean san FORCE

all: build

help:
	@printf '%s\n' \
	  'make run        build, start everything on 127.0.0.1:8080, show a demo' \
	  'make test       build and run all tests (12 minutes at most)' \
	  'make test-long  what takes longer' \
	  'make bench      measure, each figure beside its floor' \
	  'make build      build the module, sandboxd and the agent in build/' \
	  'make install    install below PREFIX ($(PREFIX)) in DESTDIR' \
	  'make deb        build packages for this Debian in build/deb' \
  'make deps       install with apt what running needs' \
	  'make clean      remove build/' \
	  '' \
	  'make vm image   what virtual machines are made of, in build/vm' \
	  'make kernel     a small kernel for them, compiled, in build/vm/own' \
	  '' \
	  'SANDBOX_PORT (8080), SANDBOX_DIR (./run), SANDBOX_DEMO (1) change make run;' \
	  'SANDBOX_DRIVER=qemu make run runs sandboxes as virtual machines'

deps:
	@scripts/deps.sh run

deps-build:
	@scripts/deps.sh build

deps-test:
	@scripts/deps.sh test

deps-long:
	@scripts/deps.sh long

deps-deb:
	@scripts/deps.sh deb

deps-vm:
	@scripts/deps.sh vm

# What virtual machines are made of: a kernel, and an image of this machine's
# own programs, or of those that IMAGE names (see scripts/image.sh).
IMAGE ?= host:bash,coreutils,libc-bin,procps,python3,curl,git,file,findutils,grep,sed,tar,gzip,hostname,iproute2,ca-certificates

vm: build/vm/kernel/version
image: build/vm/base.img

build/vm/kernel/version: scripts/kernel.sh
	$(say) VM $(@D)
	@rm -f $@; scripts/kernel.sh $(@D)

# An own kernel, with everything built in; it takes a while, and stays.
kernel: build/vm/own/version

build/vm/own/version: scripts/kernel-build.sh scripts/kernel.config
	@scripts/deps.sh kernel
	$(say) VM $(@D)
	@rm -f $@; scripts/kernel-build.sh $(@D)

build/vm/base.img: scripts/image.sh
	$(say) IMG $@
	@scripts/image.sh $@ '$(IMAGE)'

build: deps-build
	@$(MAKE) --no-print-directory -j$(JOBS) agent sandboxd module

agent: $(B)/sandbox-agent
sandboxd: $(B)/sandboxd
module: $(B)/ngx_http_sandbox_module.so

$(B)/sandbox-agent: $(AGENT_OBJ) $(AGENT_COMMON) $(LLHTTP_OBJ)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(if $(SAN),,-Wl$(,)--gc-sections) \
	    -o $@.tmp $^ $(AGENT_LIBS)
	$(Q)$(if $(SAN),,strip $@.tmp &&) mv -f $@.tmp $@

$(B)/sandboxd: $(SANDBOXD_OBJ) $(COMMON_OBJ)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(SANDBOXD_LIBS)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The executors' texts are in the binary.
$(B)/obj/agent/interpreter_scripts.o: $(wildcard agent/executors/*) \
    $(B)/obj/agent/seed.so
$(B)/obj/agent/interpreter_scripts.o: CFLAGS += -Wa,-I$(B)/obj/agent

# Of no library, and without what a sanitizer would need.
$(B)/obj/agent/seed.so: agent/executors/seed.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) -fPIC -shared -nostdlib \
	    -fno-stack-protector -Wl,-s,-z,noseparate-code,--build-id=none \
	    -o $@ $<

# Not our code: no warnings of ours.
$(B)/llhttp/%.o: $(LLHTTP_DIR)/%.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 $(OPT) $(SANFLAGS) -I$(LLHTTP_INC) -c -o $@ $<

# nginx's own build system, out of its source tree, with the flags that the
# packaged nginx was configured with.
MODULE_CC_OPT = $(OPT) $(HARDEN) -fPIC -Wall -Wextra -Werror \
                -Wno-unused-parameter $(SANFLAGS)
MODULE_LD_OPT = -fPIC $(SANFLAGS)

# Configuring takes longer than compiling, and matters when there is another
# file, not when one has changed.
MODULE_NAMES := $(wildcard ngx_sandbox_module/*.[ch] common/*.h \
                ngx_sandbox_module/openapi/*.json)

$(B)/nginx/names: FORCE
	@mkdir -p $(@D)
	@echo '$(MODULE_NAMES)' | cmp -s - $@ || echo '$(MODULE_NAMES)' >$@

FORCE:

$(B)/nginx/Makefile: config $(B)/nginx/names
	@mkdir -p $(@D)
	@exec 9>$(@D)/lock; flock 9; \
	top=$(CURDIR); cd $(NGINX_SRC) && NGX_CONF_FLAGS=(--with-compat) && \
	if [ -e conf_flags ]; then . ./conf_flags; fi && \
	./configure --with-cc-opt='$(MODULE_CC_OPT)' \
	    --with-ld-opt='$(MODULE_LD_OPT)' "$${NGX_CONF_FLAGS[@]}" \
	    --add-dynamic-module=$$top --builddir=$$top/$(@D) \
	    >$$top/$(@D)/configure.log 2>&1 \
	    || { cat $$top/$(@D)/configure.log; exit 1; }

$(B)/ngx_http_sandbox_module.so: $(B)/nginx/Makefile $(MODULE_SRC)
	$(say) MAKE $@
	@exec 9>$(B)/nginx/lock; flock 9; \
	$(MAKE) --no-print-directory -s -f $(CURDIR)/$(B)/nginx/Makefile \
	    -C $(NGINX_SRC) modules
	@cp $(B)/nginx/ngx_http_sandbox_module.so $@.tmp && mv -f $@.tmp $@

# The driver by itself, for its tests.
DRIVER_SRC   := $(wildcard $(addprefix sandboxd/,adopted.c oci*.c image*.c \
                cgroup*.c seccomp*.c userns*.c mount*.c agent_call.c agent_log.c \
                agent_probe.c agent_socket.c box*.c disk_file.c initramfs.c \
                loop_mount.c machine*.c net_link.c slot_lock.c qemu*.c vm_*.c \
                vmm*.c fc*.c arg_list.c advisories.c kvm_probe.c program.c \
                tsc.c))
DRIVER_OBJ   := $(DRIVER_SRC:%.c=$(B)/obj/%.o) \
                $(addprefix $(B)/obj/common/,base64.o error.o json_text.o \
                log.o process_start.o small_file.o utf8.o)

driver: $(B)/driver-shell $(B)/driver-agent $(B)/stub/firecracker \
        $(B)/stub/jailer

$(B)/driver-shell: $(B)/obj/t/driver/driver_shell.o $(DRIVER_OBJ)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -luv -ljansson -lseccomp -lpthread

$(B)/driver-agent: t/driver/driver_agent.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O1 $(WARN) -static -o $@ $<

# What plays Firecracker and its jailer, for t/firecracker.t.
FC_STUB_SRC := $(wildcard t/driver/fc_*.c)

$(B)/stub/firecracker: $(FC_STUB_SRC) $(wildcard t/driver/fc_*.h)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O1 $(WARN) -static -o $@ \
	    $(FC_STUB_SRC) -l:libjansson.a -lpthread

$(B)/stub/jailer: $(B)/stub/firecracker
	@ln -f $< $@

# A unit test names what it is linked with in its first lines:
#   /* sources: common/frame.c agent/ring.c */
#   /* libs: -ljansson */
# What several have in common, in t/unit/lib/, does the same.
sources_in = $(shell sed -n 's|^/\* sources: \(.*\) \*/|\1|p' $(1))
sources_of = $(call sources_in,$(1) \
               $(filter t/unit/lib/%,$(call sources_in,$(1))))
libs_of    = $(shell sed -n 's|^/\* libs: \(.*\) \*/|\1|p' $(1))

UNIT_BIN := $(UNIT_SRC:t/unit/%.c=build/unit/%)
unit: $(UNIT_BIN)

UNIT_CFLAGS = -std=gnu11 -O1 -g $(WARN) -fsanitize=address,undefined \
              -fno-sanitize-recover=undefined -fno-omit-frame-pointer

define unit_rule
build/unit/$(1): t/unit/$(1).c $(call sources_of,t/unit/$(1).c) \
        $(wildcard t/unit/*.h t/unit/lib/*.h common/*.h agent/*.h \
        sandboxd/*.h ngx_sandbox_module/*.h)
	@mkdir -p build/unit
	$$(say) UNIT $$@
	$$(Q)$$(CC) $$(CPPFLAGS) $$(UNIT_CFLAGS) -o $$@ $$(filter %.c,$$^) \
	    $(call libs_of,t/unit/$(1).c)
endef
$(foreach t,$(UNIT_SRC:t/unit/%.c=%),$(eval $(call unit_rule,$(t))))

build/unit/sandbox_openapi: $(wildcard ngx_sandbox_module/openapi/*.json)

FUZZ_BIN := $(FUZZ_SRC:t/fuzz/%.c=build/fuzz/%)
fuzz: $(FUZZ_BIN)

define fuzz_rule
build/fuzz/$(1): t/fuzz/$(1).c $(call sources_of,t/fuzz/$(1).c) \
        $(wildcard common/*.h agent/*.h sandboxd/*.h ngx_sandbox_module/*.h)
	@mkdir -p build/fuzz
	$$(say) FUZZ $$@
	$$(Q)$$(CLANG) $$(CPPFLAGS) -std=gnu11 -O1 -g \
	    -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined -o $$@ $$(filter %.c,$$^) \
	    $(call libs_of,t/fuzz/$(1).c)
endef
$(foreach t,$(FUZZ_SRC:t/fuzz/%.c=%),$(eval $(call fuzz_rule,$(t))))

san:
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 agent sandboxd module driver

run:
	@scripts/run.sh --check
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j$(JOBS) agent sandboxd module
	@if [ "$${SANDBOX_DRIVER:-oci}" != oci ]; then \
	    scripts/deps.sh vm && $(MAKE) --no-print-directory vm image; fi
	@exec scripts/run.sh

# The clients' references; the compiler is the one that the tests fetch.
sdk-docs: deps-test
	@perl -It/lib -MNpm -e 'print npm_package("typescript", "5.9.3")' \
	    >build/typescript
	@TYPESCRIPT=$$(cat build/typescript) \
	    node sdk/typescript/docs.mjs docs/sdk/typescript
	@python3 sdk/python/docs.py docs/sdk/python

test: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) agent sandboxd module driver unit fuzz vm
	@$(MAKE) --no-print-directory san
	@scripts/test.sh

test-long: deps-long
	@$(MAKE) --no-print-directory -j$(JOBS) agent sandboxd module driver unit fuzz vm
	@scripts/test.sh --long

bench: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) agent sandboxd module
	@bench/run.sh

install: build
	install -D -m 755 $(B)/sandboxd $(DESTDIR)$(PREFIX)/sbin/sandboxd
	install -D -m 755 $(B)/sandbox-agent \
	    $(DESTDIR)$(PREFIX)/lib/sandboxd/sandbox-agent
	install -D -m 644 $(B)/ngx_http_sandbox_module.so \
	    $(DESTDIR)$(PREFIX)/lib/nginx/modules/ngx_http_sandbox_module.so
	install -D -m 644 conf-examples/sandbox_proxy.conf \
	    $(DESTDIR)$(PREFIX)/share/sandboxd/sandbox_proxy.conf
	install -D -m 755 scripts/kernel.sh \
	    $(DESTDIR)$(PREFIX)/share/sandboxd/kernel.sh
	install -D -m 755 scripts/image.sh \
	    $(DESTDIR)$(PREFIX)/share/sandboxd/image.sh
	install -D -m 755 scripts/image-store.sh \
	    $(DESTDIR)$(PREFIX)/share/sandboxd/image-store.sh
	install -D -m 755 scripts/kernel-build.sh \
	    $(DESTDIR)$(PREFIX)/share/sandboxd/kernel-build.sh
	install -D -m 644 scripts/kernel.config \
	    $(DESTDIR)$(PREFIX)/share/sandboxd/kernel.config
	install -D -m 644 docs/man/sandboxd.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man8/sandboxd.8
	install -D -m 644 docs/man/sandbox-agent.1 \
	    $(DESTDIR)$(PREFIX)/share/man/man1/sandbox-agent.1

deb: deps-deb
	@scripts/deb.sh $(VERSION)

clean:
	rm -rf build

-include $(wildcard $(B)/obj/t/driver/*.d $(B)/obj/agent/*.d $(B)/obj/sandboxd/*.d $(B)/obj/common/*.d)

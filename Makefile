# k3simg: one non-recursive Makefile.
#
#   make                   build/k3simg (release flags)
#   make check             unit tests, hostile inputs and fuzz corpora: no root, no network
#   make lint              format, layers, sizes, banned calls, headers alone, shell scripts
#   make asan ubsan tsan valgrind   `check` under a sanitizer, or under valgrind
#   make analyze           gcc -fanalyzer, cppcheck, clang-tidy
#   make integration       with real registries and containerds (as root; see ./test)
#   make test-sandbox      inside gVisor, in every form (as root; some minutes)
#   make torture           the long form of the tests that have one: an hour (as root)
#   make fuzz FUZZ_S=60    every fuzz target for that many seconds (clang)
#   make bench             against containerd and others, on a fresh ext4 (as root; some minutes);
#                          BENCH_FLAGS="-n 5 -j FILE images floor" as tests/bench/run has them
#   make install           DESTDIR= PREFIX=
#
# V=release|dev|asan|ubsan|tsan|fuzz picks the flags, CC the compiler; objects of different
# flags never mix.  ISAL=0 builds without ISA-L (zlib inflates instead).

O ?= build
# Q= shows the whole command lines.
Q ?= @
V ?= release
PREFIX ?= /usr/local
FUZZ_S ?= 60
VERSION := $(shell cat VERSION)
PKG_CONFIG ?= pkg-config

FOLDERS := base kube host oci bolt registry fetch unpack archive bundle snapshot grpc cri importer doctor pipeline setup cli
LIBS := libnghttp2 libcrypto jansson yaml-0.1 zlib libzstd

ISAL ?= $(shell $(PKG_CONFIG) --exists libisal && echo 1 || echo 0)
ifeq ($(ISAL),1)
LIBS += libisal
FEATURES += -DK3_HAVE_ISAL
endif

WARN := -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wimplicit-fallthrough -fno-common
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
	-fstack-clash-protection -fPIE $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
HARDEN_LD := -pie -Wl,-z,relro,-z,now,-z,noexecstack

FLAGS_release := -O2 -g $(HARDEN)
LD_release := $(HARDEN_LD)
FLAGS_dev := -O2 -g -Werror $(HARDEN)
LD_dev := $(HARDEN_LD)
FLAGS_asan := -O1 -g -Werror -fsanitize=address -fno-omit-frame-pointer
LD_asan := -fsanitize=address
FLAGS_ubsan := -O1 -g -Werror -fsanitize=undefined -fno-sanitize-recover=all
LD_ubsan := -fsanitize=undefined
FLAGS_tsan := -O1 -g -Werror -fsanitize=thread
LD_tsan := -fsanitize=thread
FLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LD_fuzz := -fsanitize=address,undefined

ifeq ($(filter $(V),release dev asan ubsan tsan fuzz),)
$(error V=$(V) is unknown: use release, dev, asan, ubsan, tsan or fuzz)
endif
ifeq ($(V),fuzz)
CC := clang
endif

B := $(O)/$(V)
ALL_CPPFLAGS := -I. -D_GNU_SOURCE -DK3_VERSION='"$(VERSION)"' $(FEATURES) \
	$(shell $(PKG_CONFIG) --cflags libcurl $(LIBS)) $(CPPFLAGS)
ALL_CFLAGS := -std=gnu11 -pthread $(WARN) $(FLAGS_$(V)) $(CFLAGS)
ALL_LDFLAGS := -pthread $(LD_$(V)) $(LDFLAGS)
LDLIBS := $(shell $(PKG_CONFIG) --libs $(LIBS))

LIB_SRC := $(foreach f,$(filter-out cli,$(FOLDERS)),$(sort $(wildcard $(f)/*.c)))
CLI_SRC := $(sort $(wildcard cli/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/*_test.c))
UNIT_LIB_SRC := $(filter-out $(UNIT_SRC),$(sort $(wildcard tests/unit/*.c)))
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))
FUZZ_SRC := $(filter-out tests/fuzz/replay.c,$(sort $(wildcard tests/fuzz/*.c)))

ifneq ($(ISAL),1)
LIB_SRC := $(filter-out unpack/decode_isal.c,$(LIB_SRC))
endif

obj = $(patsubst %.c,$(B)/%.o,$(1))
LIB := $(B)/libk3simg.a
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
BENCH_BIN := $(patsubst %.c,$(B)/%,$(BENCH_SRC))
REPLAY_BIN := $(patsubst %.c,$(B)/%-replay,$(FUZZ_SRC))
FUZZ_BIN := $(patsubst %.c,$(B)/%-fuzz,$(FUZZ_SRC))
FAULT_SO := $(B)/tests/torture/fault.so

all: $(O)/k3simg

# build/k3simg is the program of the flags asked for last.
$(O)/k3simg: $(B)/k3simg FORCE
	@cmp -s $< $@ || { cp $< $@.new && mv $@.new $@; }

$(B)/k3simg: $(call obj,$(CLI_SRC)) $(LIB)
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(call obj,$(LIB_SRC))
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# The byte-level folders are held to explicit conversions.
$(B)/bolt/%.o $(B)/grpc/%.o $(B)/unpack/%.o: ALL_CFLAGS += -Wconversion

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Rewritten only when compiler or flags change, so that everything then rebuilds.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@

$(UNIT_BIN): $(B)/%: $(B)/%.o $(call obj,$(UNIT_LIB_SRC)) $(LIB)
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(REPLAY_BIN): $(B)/%-replay: $(B)/%.o $(B)/tests/fuzz/replay.o $(LIB)
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(FUZZ_BIN): $(B)/%-fuzz: $(B)/%.o $(LIB)
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(BENCH_BIN): $(B)/%: $(B)/%.o $(LIB)
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# A disk that logs its writes, for tests/integration/power-loss.sh.
$(B)/tests/torture/logdev: $(B)/tests/torture/logdev.o
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

# Preloaded into a program of any flags, so it has none of them but -Werror.
$(FAULT_SO): tests/torture/fault.c $(B)/flags
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(filter -Werror,$(FLAGS_$(V))) -O2 -g -fPIC -shared \
		-o $@ $< -ldl

# The floor is ISA-L's, also where k3simg is built without it.
$(B)/tests/bench/floor: LDLIBS += -lisal

check: all hardened $(UNIT_BIN) $(REPLAY_BIN) $(FAULT_SO)
	@tests/run-check $(B) $(UNIT_BIN) $(REPLAY_BIN)

hardened: all
ifneq ($(filter $(V),release dev),)
	@tools/check-hardening $(O)/k3simg
endif

asan ubsan tsan:
	$(MAKE) V=$@ check

fuzz:
	$(MAKE) V=fuzz fuzz-run

fuzz-run: $(FUZZ_BIN)
	@tools/run-fuzz $(B) $(FUZZ_S) $(FUZZ_BIN)

lint:
	@tools/lint $(FOLDERS)

analyze:
	@tools/analyze '$(filter-out -DK3_VERSION%,$(ALL_CPPFLAGS))' $(LIB_SRC) $(CLI_SRC)

valgrind: all $(UNIT_BIN) $(REPLAY_BIN)
	@RUN_UNDER='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite' \
		tests/run-check $(B) $(UNIT_BIN) $(REPLAY_BIN)

integration: all
	@./test integration

test-sandbox: all
	@SANDBOX=full ./test integration sandbox

torture: all
	@./test torture

bench: all $(BENCH_BIN)
	@K3SIMG=$(O)/k3simg BENCH_BIN=$(B)/tests/bench tests/bench/run $(BENCH_FLAGS)

install: all
	install -D -m 0755 $(O)/k3simg $(DESTDIR)$(PREFIX)/bin/k3simg
	install -D -m 0644 docs/k3simg.1 $(DESTDIR)$(PREFIX)/share/man/man1/k3simg.1
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/k3simg/images images/*.list images/README.md

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/k3simg $(DESTDIR)$(PREFIX)/share/man/man1/k3simg.1
	rm -rf $(DESTDIR)$(PREFIX)/share/k3simg/images
	rmdir $(DESTDIR)$(PREFIX)/share/k3simg 2>/dev/null || :

clean:
	rm -rf $(O)

FORCE:
.PHONY: all check hardened asan ubsan tsan fuzz fuzz-run lint analyze valgrind integration test-sandbox torture bench install uninstall clean FORCE
.SECONDARY:

-include $(shell find $(B) -name '*.d' 2>/dev/null)

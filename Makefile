# k3simg: one non-recursive Makefile.
#
#   make                   build/k3simg (release flags)
#   make check             unit tests, hostile inputs and fuzz corpora: no root, no network
#   make lint              format, layers, sizes, banned calls, headers alone, shell scripts
#   make asan ubsan tsan valgrind   `check` under a sanitizer, or under valgrind
#   make analyze           gcc -fanalyzer, cppcheck, clang-tidy
#   make integration       with real registries and containerds (as root; see ./test)
#   make test-sandbox      inside gVisor, in every form (as root; some minutes); SANDBOX="FORM..."
#                          as tests/integration/sandbox.sh has them, also "table", "threads"
#   make torture           the long form of the tests that have one: an hour (as root)
#   make fuzz FUZZ_S=60    every fuzz target for that many seconds (clang)
#   make bench             against containerd and others, on a fresh ext4 (as root; some minutes);
#                          BENCH_FLAGS="-n 5 -j FILE images floor" as tests/bench/run has them
#   make man               the manual pages, into build/man
#   make lib               build/release/lib/: libk3simg.a and .so
#   make install           DESTDIR= PREFIX= UNITDIR=
#   make install-lib       the library, its headers and k3simg.pc: DESTDIR= PREFIX= LIBDIR=
#   make dist              build/k3simg-VERSION.tar.gz: the same tree gives the same bytes
#   make deb               Debian packages of that, in build/deb (as root if debhelper is missing)
#
# V=release|dev|asan|ubsan|tsan|fuzz picks the flags, CC the compiler; objects of different
# flags never mix.  ISAL=0 builds without ISA-L (zlib inflates instead).

O ?= build
# Q= shows the whole command lines.
Q ?= @
V ?= release
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
UNITDIR ?= $(PREFIX)/lib/systemd/system
FUZZ_S ?= 60
VERSION := $(shell cat VERSION)
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy

FOLDERS := base kube host oci bolt registry fetch unpack archive bundle snapshot grpc cri importer doctor explain pipeline setup cli
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
	-fstack-clash-protection $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
# One set of objects is linked into the program and both libraries.  That nobody replaces single
# functions of ours leaves the compiler as free as with -fPIE.
HARDEN += -fPIC -fno-semantic-interposition
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

# ---- the library: public headers are FOLDER/FOLDER.h and all of base/ ----

# Grows when a release breaks programs that were linked against the one before.
SOVERSION := 0
HEADERS := $(sort $(wildcard base/*.h)) $(foreach f,$(filter-out base cli,$(FOLDERS)),$(f)/$(f).h)
SONAME := libk3simg.so.$(SOVERSION)
LIB_SO := $(B)/lib/libk3simg.so.$(VERSION)
LIB_A := $(B)/lib/libk3simg.a

lib: $(LIB_SO) $(LIB_A)

# What the public headers declare, and nothing else, is visible: in the shared library by a
# version script, in the static one because everything else is local to its only member.
$(B)/lib/public: $(LIB) $(HEADERS) tools/public-symbols
	@mkdir -p $(@D)
	$(Q)tools/public-symbols $(LIB) $(HEADERS) > $@.new && mv $@.new $@

$(B)/lib/map: $(B)/lib/public
	$(Q){ echo 'K3SIMG_$(SOVERSION) {'; echo 'global:'; sed 's/$$/;/' $<; echo 'local: *;'; echo '};'; } > $@

$(LIB_SO): $(call obj,$(LIB_SRC)) $(B)/lib/map
	@echo '  LINK  $@'
	$(Q)$(CC) $(filter-out -pie,$(ALL_LDFLAGS)) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs \
		-Wl,--version-script,$(B)/lib/map -o $@ $(filter %.o,$^) $(LDLIBS)

$(LIB_A): $(call obj,$(LIB_SRC)) $(B)/lib/public
	@rm -f $@
	$(Q)$(CC) -nostdlib -r -o $(B)/lib/libk3simg.o $(filter %.o,$^)
	$(Q)$(OBJCOPY) --keep-global-symbols=$(B)/lib/public $(B)/lib/libk3simg.o
	$(Q)$(AR) rcs $@ $(B)/lib/libk3simg.o

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

# It has them inside.
COMPLETIONS := packaging/completions/k3simg.bash packaging/completions/_k3simg packaging/completions/k3simg.fish
$(B)/cli/cmd_completion.o: $(COMPLETIONS)

MAN := $(O)/man
man: $(MAN)/k3simg.1

$(MAN)/k3simg.1: $(O)/k3simg tools/man-page tools/man-pages VERSION $(wildcard docs/man/*.txt)
	@echo '  MAN   $(MAN)'
	$(Q)tools/man-pages $(O)/k3simg $(MAN)

$(UNIT_BIN): $(B)/%: $(B)/%.o $(call obj,$(UNIT_LIB_SRC)) $(LIB)
	@echo '  LINK  $@'
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LDLIBS)

# The command line is in no library; tests of it are linked with all of it but main().
$(filter $(B)/tests/unit/cli_%,$(UNIT_BIN)): $(call obj,$(filter-out cli/main.c,$(CLI_SRC)))

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

SANDBOX ?= all
test-sandbox: all
	@SANDBOX='$(SANDBOX)' ./test integration sandbox

torture: all
	@./test torture

bench: all $(BENCH_BIN)
	@K3SIMG=$(O)/k3simg BENCH_BIN=$(B)/tests/bench tests/bench/run $(BENCH_FLAGS)

SHARE := $(DESTDIR)$(PREFIX)/share

install: all man
	install -D -m 0755 $(O)/k3simg $(DESTDIR)$(PREFIX)/bin/k3simg
	install -D -m 0644 -t $(SHARE)/man/man1 $(MAN)/*.1
	install -D -m 0644 -t $(SHARE)/man/man5 $(MAN)/*.5
	install -D -m 0644 packaging/completions/k3simg.bash $(SHARE)/bash-completion/completions/k3simg
	install -D -m 0644 -t $(SHARE)/zsh/site-functions packaging/completions/_k3simg
	install -D -m 0644 -t $(SHARE)/fish/vendor_completions.d packaging/completions/k3simg.fish
	install -D -m 0644 -t $(SHARE)/k3simg/images images/*.list images/README.md
	install -D -m 0644 -t $(SHARE)/k3simg/schema docs/schema/*.json docs/schema/README.md
	install -d $(DESTDIR)$(UNITDIR)
	for unit in packaging/systemd/*.service.in; do \
		name=$${unit##*/}; out=$(DESTDIR)$(UNITDIR)/$${name%.in}; \
		sed 's|@BINDIR@|$(PREFIX)/bin|' $$unit > $$out && chmod 0644 $$out || exit; \
	done

install-lib: lib
	install -D -m 0644 $(LIB_A) $(DESTDIR)$(LIBDIR)/libk3simg.a
	install -D -m 0644 $(LIB_SO) $(DESTDIR)$(LIBDIR)/libk3simg.so.$(VERSION)
	ln -sf libk3simg.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libk3simg.so
	for h in $(HEADERS); do \
		install -D -m 0644 $$h $(DESTDIR)$(PREFIX)/include/k3simg/$$h || exit; \
	done
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' \
		-e 's|@LIBS@|$(strip $(LDLIBS))|' packaging/k3simg.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/k3simg.pc
	chmod 0644 $(DESTDIR)$(LIBDIR)/pkgconfig/k3simg.pc

DIST := $(O)/k3simg-$(VERSION).tar.gz

dist:
	@tools/dist $(DIST)

deb: dist
	@packaging/build-deb $(DIST) $(O)/deb

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/include/k3simg
	rm -f $(DESTDIR)$(LIBDIR)/libk3simg.a $(DESTDIR)$(LIBDIR)/libk3simg.so* $(DESTDIR)$(LIBDIR)/pkgconfig/k3simg.pc
	rm -f $(DESTDIR)$(UNITDIR)/k3simg-preload.service $(DESTDIR)$(UNITDIR)/k3simg-bundle.service
	rm -f $(DESTDIR)$(PREFIX)/bin/k3simg
	rm -f $(SHARE)/man/man1/k3simg.1 $(SHARE)/man/man1/k3simg-*.1 $(SHARE)/man/man5/k3simg-*.5
	rm -f $(SHARE)/bash-completion/completions/k3simg $(SHARE)/zsh/site-functions/_k3simg
	rm -f $(SHARE)/fish/vendor_completions.d/k3simg.fish
	rm -rf $(SHARE)/k3simg/images $(SHARE)/k3simg/schema
	rmdir $(SHARE)/k3simg 2>/dev/null || :

clean:
	rm -rf $(O)

FORCE:
.PHONY: all man check hardened asan ubsan tsan fuzz fuzz-run lint analyze valgrind integration test-sandbox torture bench lib install install-lib dist deb uninstall clean FORCE
.SECONDARY:

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# lib.mk — `make lib`: the C library for C and C++ programs. Included by the Makefile; make -f csrc/lib.mk lib works too.
# build/lib/ gets libkvspic.a, the shared library, kvspic.pc, kvspicConfig.cmake and include/; `make install-lib` copies
# them below PREFIX. Only the names of kvspic.h and pic.h are visible in the shared library.
LIB_OUT := build/lib
LIB_CC ?= $(CC)
LIB_CFLAGS ?= -O2
LIB_VERSION := $(shell sed -n 's/^.*KVS_VERSION "\([0-9.]*\).*$$/\1/p' csrc/base/version.h)
LIB_MAJOR := $(firstword $(subst ., ,$(LIB_VERSION)))
LIB_SOURCES := $(sort $(wildcard $(addsuffix /*.c,$(addprefix csrc/,base media store wire machine engine host pic))))
LIB_OBJECTS := $(LIB_SOURCES:csrc/%.c=$(LIB_OUT)/o/%.o)
# With the paths by which sources written for AWS's producer include them.
LIB_FIELD := com/amazonaws/kinesis/video
LIB_HEADERS := kvspic.h kvspic_acks.h kvspic_status.h pic.h pic_types.h pic_status.h \
	$(addprefix $(LIB_FIELD)/,client/Include.h mkvgen/Include.h common/CommonDefs.h common/PlatformUtils.h)
# The pkg-config names that such sources ask for are the same library.
LIB_PC_NAMES := libkvspic.pc libkvspicClient.pc
LIB_CMAKE := kvspicConfig.cmake kvspicConfigVersion.cmake
LIB_FLAGS := -std=c11 -Wall -Wextra -Wconversion -Wshadow -fPIC -fvisibility=hidden -pthread -Icsrc -Icsrc/include -MMD -MP
PREFIX ?= /usr/local
# Asked once, when first used. Processors without 64-bit atomic operations (ARMv6) have them in libatomic. Where time_t
# has 32 bits, glibc from 2.34 on has another one.
lib_links = $(shell echo 'long long n; int main(void) { return (int)__atomic_fetch_add(&n, 1, 5); }' | \
	$(LIB_CC) -x c - -o /dev/null $(1) 2>/dev/null && echo yes)
LIB_ATOMIC = $(eval LIB_ATOMIC := $(if $(call lib_links),,$(if $(call lib_links,-latomic),-latomic)))$(LIB_ATOMIC)
LIB_TIME = $(eval LIB_TIME := $(shell printf '%s\n' '\#include <time.h>' '\#if __SIZEOF_LONG__ == 4 && __GLIBC_PREREQ(2, 34)' \
	short '\#endif' | $(LIB_CC) -x c -E -P - 2>/dev/null | grep -qx short && \
	echo -D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64))$(LIB_TIME)

ifeq ($(shell uname -s),Darwin)
LIB_SHARED := libkvspic.$(LIB_MAJOR).dylib
LIB_LINK := libkvspic.dylib
LIB_SONAME = -dynamiclib -install_name @rpath/$(LIB_SHARED)
else
LIB_SHARED := libkvspic.so.$(LIB_MAJOR)
LIB_LINK := libkvspic.so
LIB_SONAME = -shared -Wl,-soname,$(LIB_SHARED)
endif

.PHONY: lib install-lib upload
lib: $(LIB_OUT)/libkvspic.a $(LIB_OUT)/$(LIB_LINK) $(LIB_OUT)/kvspic.pc $(addprefix $(LIB_OUT)/,$(LIB_CMAKE)) $(LIB_OUT)/camera \
	$(addprefix $(LIB_OUT)/include/,$(LIB_HEADERS))

$(LIB_OUT)/o/%.o: csrc/%.c csrc/lib.mk
	@mkdir -p $(@D)
	$(LIB_CC) $(LIB_FLAGS) $(LIB_TIME) $(LIB_CFLAGS) -c $< -o $@

# The whole camera of csrc/examples/upload; it needs libcurl and OpenSSL (Debian: libcurl4-openssl-dev, libssl-dev).
upload: $(LIB_OUT)/upload
$(LIB_OUT)/upload: $(wildcard csrc/examples/upload/*.[ch]) $(LIB_OUT)/libkvspic.a
	$(LIB_CC) -std=c11 -Wall -Wextra $(LIB_TIME) $(LIB_CFLAGS) -pthread -Icsrc/include -o $@ $(filter %.c,$^) \
		$(LIB_OUT)/libkvspic.a $$(pkg-config --cflags --libs libcurl libcrypto) $(LIB_ATOMIC)

$(LIB_OUT)/libkvspic.a: $(LIB_OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(LIB_OUT)/$(LIB_SHARED): $(LIB_OBJECTS)
	$(LIB_CC) $(LIB_SONAME) -pthread -o $@ $^ $(LIB_ATOMIC)

$(LIB_OUT)/$(LIB_LINK): $(LIB_OUT)/$(LIB_SHARED)
	ln -sf $(LIB_SHARED) $@

$(LIB_OUT)/include/%.h: csrc/include/%.h
	@mkdir -p $(@D)
	cp $< $@

$(LIB_OUT)/camera: csrc/examples/camera.c $(LIB_OUT)/libkvspic.a
	$(LIB_CC) -std=c11 -Wall -Wextra $(LIB_CFLAGS) -pthread -Icsrc/include -o $@ $< $(LIB_OUT)/libkvspic.a $(LIB_ATOMIC)

$(LIB_OUT)/kvspic.pc $(addprefix $(LIB_OUT)/,$(LIB_CMAKE)): $(LIB_OUT)/%: csrc/%.in csrc/lib.mk csrc/base/version.h
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(LIB_VERSION)|g' -e 's|@SHARED@|$(LIB_LINK)|g' \
		-e 's|@ATOMIC@|$(LIB_ATOMIC)|g' -e 's| *$$||' $< > $@

install-lib: lib
	mkdir -p $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/lib/cmake/kvspic $(DESTDIR)$(PREFIX)/include
	cd csrc/include && for header in $(LIB_HEADERS); do \
		mkdir -p "$(abspath $(DESTDIR)$(PREFIX))/include/$$(dirname $$header)" && \
		cp $$header "$(abspath $(DESTDIR)$(PREFIX))/include/$$header" || exit 1; done
	cp $(LIB_OUT)/libkvspic.a $(LIB_OUT)/$(LIB_SHARED) $(DESTDIR)$(PREFIX)/lib/
	ln -sf $(LIB_SHARED) $(DESTDIR)$(PREFIX)/lib/$(LIB_LINK)
	sed 's|@PREFIX@|$(PREFIX)|g; s|@VERSION@|$(LIB_VERSION)|g; s|@ATOMIC@|$(LIB_ATOMIC)|g; s| *$$||' csrc/kvspic.pc.in \
		> $(DESTDIR)$(PREFIX)/lib/pkgconfig/kvspic.pc
	for name in $(LIB_PC_NAMES); do cp $(DESTDIR)$(PREFIX)/lib/pkgconfig/kvspic.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/$$name; done
	cp $(addprefix $(LIB_OUT)/,$(LIB_CMAKE)) $(DESTDIR)$(PREFIX)/lib/cmake/kvspic/

-include $(LIB_OBJECTS:.o=.d)

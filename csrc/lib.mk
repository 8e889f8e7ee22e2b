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
LIB_HEADERS := kvspic.h kvspic_status.h pic.h pic_types.h pic_status.h
LIB_FLAGS := -std=c11 -Wall -Wextra -Wconversion -Wshadow -fPIC -fvisibility=hidden -pthread -Icsrc -Icsrc/include -MMD -MP
PREFIX ?= /usr/local

ifeq ($(shell uname -s),Darwin)
LIB_SHARED := libkvspic.$(LIB_MAJOR).dylib
LIB_LINK := libkvspic.dylib
LIB_SONAME = -dynamiclib -install_name @rpath/$(LIB_SHARED)
else
LIB_SHARED := libkvspic.so.$(LIB_MAJOR)
LIB_LINK := libkvspic.so
LIB_SONAME = -shared -Wl,-soname,$(LIB_SHARED)
endif

.PHONY: lib install-lib
lib: $(LIB_OUT)/libkvspic.a $(LIB_OUT)/$(LIB_LINK) $(LIB_OUT)/kvspic.pc $(LIB_OUT)/kvspicConfig.cmake $(LIB_OUT)/camera \
	$(addprefix $(LIB_OUT)/include/,$(LIB_HEADERS))

$(LIB_OUT)/o/%.o: csrc/%.c csrc/lib.mk
	@mkdir -p $(@D)
	$(LIB_CC) $(LIB_FLAGS) $(LIB_CFLAGS) -c $< -o $@

$(LIB_OUT)/libkvspic.a: $(LIB_OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(LIB_OUT)/$(LIB_SHARED): $(LIB_OBJECTS)
	$(LIB_CC) $(LIB_SONAME) -pthread -o $@ $^

$(LIB_OUT)/$(LIB_LINK): $(LIB_OUT)/$(LIB_SHARED)
	ln -sf $(LIB_SHARED) $@

$(LIB_OUT)/include/%.h: csrc/include/%.h
	@mkdir -p $(@D)
	cp $< $@

$(LIB_OUT)/camera: csrc/examples/camera.c $(LIB_OUT)/libkvspic.a
	$(LIB_CC) -std=c11 -Wall -Wextra $(LIB_CFLAGS) -pthread -Icsrc/include -o $@ $< $(LIB_OUT)/libkvspic.a

$(LIB_OUT)/kvspic.pc $(LIB_OUT)/kvspicConfig.cmake: $(LIB_OUT)/%: csrc/%.in csrc/lib.mk csrc/base/version.h
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(LIB_VERSION)|g' -e 's|@SHARED@|$(LIB_LINK)|g' $< > $@

install-lib: lib
	mkdir -p $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/lib/cmake/kvspic $(DESTDIR)$(PREFIX)/include
	cp $(addprefix csrc/include/,$(LIB_HEADERS)) $(DESTDIR)$(PREFIX)/include/
	cp $(LIB_OUT)/libkvspic.a $(LIB_OUT)/$(LIB_SHARED) $(DESTDIR)$(PREFIX)/lib/
	ln -sf $(LIB_SHARED) $(DESTDIR)$(PREFIX)/lib/$(LIB_LINK)
	sed 's|@PREFIX@|$(PREFIX)|g; s|@VERSION@|$(LIB_VERSION)|g' csrc/kvspic.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/kvspic.pc
	cp $(LIB_OUT)/kvspicConfig.cmake $(DESTDIR)$(PREFIX)/lib/cmake/kvspic/

-include $(LIB_OBJECTS:.o=.d)

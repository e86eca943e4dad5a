#!/bin/bash
# make builds this project's engine with its sources and its results on the mount: the same
# objects as on a plain filesystem, and later what the times of the files ask for.
. "$(dirname "$0")/../lib/mount.sh"
needs make cc pkg-config
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
fs_start || exit 1
unset MAKEFLAGS CCACHE_DIR
export SOURCE_DATE_EPOCH=0

cat >"$T/Makefile" <<'END'
sources := $(wildcard core/base/*.c core/rope/*.c core/catalog/*.c core/wal/*.c)
objects := $(sources:.c=.o)
CFLAGS := -std=gnu17 -O0 -I. -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags libsodium)
engine.a: $(objects)
	rm -f $@
	$(AR) rcsD $@ $^
%.o: %.c
	$(CC) $(CFLAGS) -c -o $@ $<
	@echo $@ >>made
-include $(objects:.o=.d)
END
copy_sources() {
	mkdir project && cp -r "$source_dir/core" project && cp "$T/Makefile" project
}
made() {	# what the last make compiled
	sort made | sed 's/^/compiled /'
	: >made
}
builds() { cd project && make -s -j2 && made && sha256sum engine.a; }
does_nothing() { cd project && make -j2 && made; }
follows() {
	cd project && touch core/rope/rope_node.h && make -s -j2 && made &&
		echo 'int more; /* in one file */' >>core/base/buf.c && make -s && made &&
		make -s && made && sha256sum engine.a
}

both_do "the sources are copied" copy_sources
both_do "make -j2" builds
both_do "a second make finds nothing to do" does_nothing
both_do "what was touched is compiled, and nothing else" follows
ok "the mount is renewed" fs_restart
both_do "make still finds nothing to do" does_nothing
finish

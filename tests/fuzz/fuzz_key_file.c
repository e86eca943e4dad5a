/* fuzz_key_file.c - the text of a key file (core/keys/key_file.c). */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/keys/keys.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct key_file *kf = NULL;
	char path[32];
	int fd;

	FUZZ_MUST(keys_init_library());
	fd = memfd_create("key", MFD_CLOEXEC);
	FUZZ_MUST(fd);
	FUZZ_MUST(fchmod(fd, 0600));
	FUZZ_MUST(write(fd, p, n));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (key_file_read(path, &kf) == 0 && !kf)
		abort();
	key_file_free(kf);
	close(fd);
	return 0;
}

void fuzz_mend(uint8_t *p, size_t n)
{
	static const char first[] = "ropefs-key 1\nstore ";

	memcpy(p, first, MIN(n, sizeof(first) - 1));
}

void fuzz_seeds(fuzz_give_fn give, void *arg)
{
	static const char good[] =
		"ropefs-key 1\nstore 0123456789abcdef0123456789abcdef\n"
		"key QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n";

	give(arg, "good", good, sizeof(good) - 1);
	give(arg, "short", good, 40);
	give(arg, "open_end", good, sizeof(good) - 2);
}

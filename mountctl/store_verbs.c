#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ropefs.h"
#include "mountctl/term.h"
#include "mountctl/verbs.h"

static bool is_cipher(const char *name)
{
	static const char *const names[] = { "xchacha20-poly1305", "aes256-gcm", "none" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

int verb_init(const struct verb *verb, int argc, char **argv)
{
	struct ropefs_init_opts opts = { 0 };
	const struct verb_option options[] = {
		{ "key-file", 'k', true, &opts.key_file },
		{ "cipher", 'c', true, &opts.cipher },
		{ 0 },
	};
	char *key_path = NULL, *store, *key;
	int first, r;

	if (verb_options(verb, argc, argv, options, 1, 1, &first) < 0)
		return first;
	if (opts.cipher && !is_cipher(opts.cipher))
		return term_usage(verb->name,
				  "there is no cipher '%s': choose xchacha20-poly1305, "
				  "aes256-gcm or none",
				  opts.cipher);
	r = ropefs_init(argv[first], &opts, &key_path);
	if (r < 0)
		return term_fail(r, argv[first]);
	store = term_name(stdout, argv[first]);
	key = term_name(stdout, key_path ? key_path : "");
	printf("Made the store %s\n", store);
	if (*key)
		printf("Its key is in %s\n%sWithout this file the data is lost: copy it "
		       "to a "
		       "safe place.%s\n",
		       key, term_paint(stdout, TERM_WARN),
		       term_paint(stdout, TERM_PLAIN));
	free(store);
	free(key);
	free(key_path);
	return EXIT_DONE;
}

int verb_version(const struct verb *verb, int argc, char **argv)
{
	const char *as_json = NULL;
	const struct verb_option options[] = { { "json", 'j', false, &as_json }, { 0 } };
	int first;

	if (verb_options(verb, argc, argv, options, 0, 0, &first) < 0)
		return first;
	printf(as_json ? "{\"name\":\"ropefs\",\"version\":\"%s\"}\n" : "ropefs %s\n",
	       ROPEFS_VERSION);
	return EXIT_DONE;
}

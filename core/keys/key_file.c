/* key_file.c - the key outside the store, as three lines of text:
 *
 *	ropefs-key 1
 *	store 0123456789abcdef0123456789abcdef
 *	key BASE64-OF-32-BYTES
 *
 * Invariants:
 *  1. The file appears under its name whole and synced, or not at all, and never over
 *     another: a key lost is a store lost.
 *  2. Its text is only ever in secret memory. */
#include "core/keys/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/keys/secret.h"

#define FIRST_LINE     "ropefs-key 1\nstore "
#define KEY_WORD       "\nkey "
#define ID_HEX_BYTES   (2 * (size_t)STORE_ID_BYTES)
#define KEY_TEXT_BYTES 44 /* base64 of 32 bytes, padded */
#define TEXT_BYTES                                                                       \
	(sizeof(FIRST_LINE) - 1 + ID_HEX_BYTES + sizeof(KEY_WORD) - 1 + KEY_TEXT_BYTES + \
	 1)
#define TEXT_MAX 256
#define BASE64	 sodium_base64_VARIANT_ORIGINAL

static_assert(sodium_base64_ENCODED_LEN(AEAD_KEY_BYTES, 1) == KEY_TEXT_BYTES + 1,
	      "base64");
static_assert(TEXT_BYTES + 2 <= TEXT_MAX, "text");

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int refuse(const char *path, const char *why)
{
	return err_set(E_KEY_FILE, "key file %s %s", path, why);
}

static ssize_t read_all(int fd, char *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read(fd, p + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

static int sync_parent(const char *path)
{
	_cleanup_free_ char *dir = strdup(path);
	_cleanup_(closep) int fd = -1;
	char *slash;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

/* Makes the folders above path, each 0700 and durable. */
static int make_parents(const char *path)
{
	_cleanup_free_ char *dir = strdup(path);
	int r;

	if (!dir)
		return -ENOMEM;
	for (char *at = strchr(dir + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(dir, 0700) == 0) {
			r = sync_parent(dir);
			if (r < 0)
				return r;
		} else if (errno != EEXIST) {
			return -errno;
		}
		*at = '/';
	}
	return 0;
}

static void text_write(char *p, const uint8_t *store_id, const uint8_t *key)
{
	memcpy(p, FIRST_LINE, sizeof(FIRST_LINE) - 1);
	p += sizeof(FIRST_LINE) - 1;
	sodium_bin2hex(p, ID_HEX_BYTES + 1, store_id, STORE_ID_BYTES);
	p += ID_HEX_BYTES;
	memcpy(p, KEY_WORD, sizeof(KEY_WORD) - 1);
	p += sizeof(KEY_WORD) - 1;
	sodium_bin2base64(p, KEY_TEXT_BYTES + 1, key, AEAD_KEY_BYTES, BASE64);
	p[KEY_TEXT_BYTES] = '\n';
}

/* Gives the synced file tmp its name, unless the name is taken. */
static int publish(const char *tmp, const char *path)
{
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) < 0) {
		if (errno != EINVAL)
			return -errno;
		/* A filesystem without RENAME_NOREPLACE; link() never replaces. */
		if (link(tmp, path) < 0)
			return -errno;
		unlink(tmp);
	}
	return sync_parent(path);
}

static int write_new(const char *path, const char *text)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_(closep) int fd = -1;
	int r;

	if (asprintf(&tmp, "%s.XXXXXX", path) < 0) {
		tmp = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(tmp, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, TEXT_BYTES);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0)
		r = publish(tmp, path);
	if (r < 0)
		unlink(tmp);
	return r;
}

int key_file_create(const char *path, const uint8_t store_id[STORE_ID_BYTES])
{
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(secret_freep) uint8_t *key = NULL;
	void *p;
	int r;

	assert(path);
	assert(store_id);
	r = secret_new(AEAD_KEY_BYTES, &p);
	if (r < 0)
		return r;
	key = p;
	r = secret_new(TEXT_MAX, &p);
	if (r < 0)
		return r;
	text = p;
	randombytes_buf(key, AEAD_KEY_BYTES);
	text_write(text, store_id, key);
	r = make_parents(path);
	if (r < 0)
		return r;
	return write_new(path, text);
}

static int text_parse(const char *p, size_t n, struct key_file *kf)
{
	const char *key =
		p + sizeof(FIRST_LINE) - 1 + ID_HEX_BYTES + sizeof(KEY_WORD) - 1;
	size_t got;

	if (n + 1 != TEXT_BYTES && (n != TEXT_BYTES || p[n - 1] != '\n'))
		return -EBADMSG;
	if (memcmp(p, FIRST_LINE, sizeof(FIRST_LINE) - 1))
		return -EBADMSG;
	p += sizeof(FIRST_LINE) - 1;
	if (sodium_hex2bin(kf->store_id, STORE_ID_BYTES, p, ID_HEX_BYTES, NULL, &got,
			   NULL) ||
	    got != STORE_ID_BYTES)
		return -EBADMSG;
	if (memcmp(p + ID_HEX_BYTES, KEY_WORD, sizeof(KEY_WORD) - 1))
		return -EBADMSG;
	if (sodium_base642bin(kf->key, AEAD_KEY_BYTES, key, KEY_TEXT_BYTES, NULL, &got,
			      NULL, BASE64) ||
	    got != AEAD_KEY_BYTES)
		return -EBADMSG;
	return 0;
}

/* Opens path if only its owner, who is us or root, can get at it. */
static int open_safe(const char *path, int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return refuse(path,
			      "does not exist: give its place, or bring it back from the "
			      "copy you keep; without it the store can't be opened");
	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse(path,
			      "can't be read: run as its owner, or mend its permissions "
			      "and those of its folders");
	if (!S_ISREG(st.st_mode))
		return refuse(path,
			      "is not a regular file: give the place of a key file");
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return refuse(path,
			      "belongs to another user: chown it to the user who mounts");
	if (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH))
		return refuse(
			path,
			"is open to other users: chmod 600 it, and make a new one if "
			"others may have read it");
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int key_file_read(const char *path, struct key_file **ret)
{
	_cleanup_(secret_freep) struct key_file *kf = NULL;
	_cleanup_(secret_freep) char *text = NULL;
	_cleanup_(closep) int fd = -1;
	ssize_t n;
	void *p;
	int r;

	assert(path);
	assert(ret);
	r = open_safe(path, &fd);
	if (r >= 0)
		r = secret_probe();
	if (r < 0)
		return r;
	r = secret_new(TEXT_MAX, &p);
	if (r < 0)
		return r;
	text = p;
	r = secret_new(sizeof(*kf), &p);
	if (r < 0)
		return r;
	kf = p;
	n = read_all(fd, text, TEXT_MAX);
	if (n < 0)
		return (int)n;
	if (text_parse(text, (size_t)n, kf) < 0)
		return refuse(
			path,
			"is no ropefs key file of version 1 or is damaged: bring it "
			"back from the copy you keep");
	*ret = kf;
	kf = NULL;
	return 0;
}

struct key_file *key_file_free(struct key_file *kf)
{
	return secret_free(kf);
}

/* $HOME, else what the user database says; NULL when neither is a path. */
static const char *home_dir(void)
{
	const char *home = getenv("HOME");
	const struct passwd *pw;

	if (home && home[0] == '/')
		return home;
	pw = getpwuid(geteuid());
	return pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
}

int key_file_default_path(const uint8_t store_id[STORE_ID_BYTES], char **ret_path)
{
	const char *config = getenv("XDG_CONFIG_HOME");
	char hex[ID_HEX_BYTES + 1];
	const char *home;
	char *path;
	int r;

	assert(store_id);
	assert(ret_path);
	sodium_bin2hex(hex, sizeof(hex), store_id, STORE_ID_BYTES);
	home = home_dir();
	if (geteuid() == 0)
		r = asprintf(&path, "/etc/ropefs/%s.key", hex);
	else if (config && config[0] == '/')
		r = asprintf(&path, "%s/ropefs/%s.key", config, hex);
	else if (home)
		r = asprintf(&path, "%s/.config/ropefs/%s.key", home, hex);
	else
		return err_set(ENOENT,
			       "no home folder for the key file: set XDG_CONFIG_HOME, or "
			       "give the key file's place");
	if (r < 0)
		return -ENOMEM;
	*ret_path = path;
	return 0;
}

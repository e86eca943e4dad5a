#include "tests/lib/object_fault.h"

struct faulty {
	struct object_store os;
	struct object_fault fault;
};

static struct faulty *faulty_of(struct object_store *os)
{
	return container_of(os, struct faulty, os);
}

#define AROUND(what, key, call)                                                          \
	do {                                                                             \
		struct faulty *f = faulty_of(os);                                        \
		int r = f->fault.fails(f->fault.arg, what, key, false);                  \
		if (r == 0)                                                              \
			r = call;                                                        \
		if (r == 0)                                                              \
			r = f->fault.fails(f->fault.arg, what, key, true);               \
		return r;                                                                \
	} while (0)

static int faulty_put(struct object_store *os, const char *key,
		      const struct object_body *body, unsigned flags)
{
	AROUND("put", key, object_put(f->os.inner, key, body, flags));
}

static int faulty_get(struct object_store *os, const char *key, struct object_range range,
		      struct buf *ret)
{
	size_t before = ret->n;
	struct faulty *f = faulty_of(os);
	int r = f->fault.fails(f->fault.arg, "get", key, false);

	if (r == 0)
		r = object_get(f->os.inner, key, range, ret);
	if (r == 0)
		r = f->fault.fails(f->fault.arg, "get", key, true);
	if (r < 0)
		ret->n = before;
	return r;
}

static int faulty_head(struct object_store *os, const char *key, uint64_t *ret_bytes)
{
	AROUND("head", key, object_head(f->os.inner, key, ret_bytes));
}

static int faulty_list(struct object_store *os, const struct object_listing *what)
{
	AROUND("list", what->prefix, object_list(f->os.inner, what));
}

static int faulty_del(struct object_store *os, const char *key)
{
	AROUND("del", key, object_del(f->os.inner, key));
}

static void faulty_free(struct object_store *os)
{
	free(faulty_of(os));
}

static const struct object_ops faulty_ops = {
	.put = faulty_put,
	.get = faulty_get,
	.head = faulty_head,
	.list = faulty_list,
	.del = faulty_del,
	.free = faulty_free,
};

struct object_store *object_fault_new(const struct object_fault *fault,
				      struct object_store *inner)
{
	struct faulty *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->os.ops = &faulty_ops;
	f->os.inner = inner;
	f->fault = *fault;
	return &f->os;
}

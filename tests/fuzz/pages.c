#include "tests/fuzz/pages.h"

#include "core/catalog/catalog.h"
#include "core/page/nodes.h"
#include "core/page/superblock.h"
#include "core/rope/rope.h"

#define PAGES_SPOKEN ((uint64_t)1 << 16)

struct children {
	struct noderef *
		refs; /* of the images, those from `from` on are known; each is used once */
	unsigned from, n;
};

static int mend_child(void *arg, struct noderef *slot)
{
	const struct children *c = arg;
	uint64_t i = le64_get(slot->at) - FUZZ_PAGE_FIRST;

	if (i < c->from || i >= c->n || noderef_is_none(&c->refs[i]))
		return 0;
	*slot = c->refs[i];
	c->refs[i] = NODEREF_NONE;
	return 0;
}

/* An image that can't be a node is left as it is. */
static void mend_children(struct nodes *ns, uint8_t *image, struct children *c)
{
	const struct node_type *type = nodes_type(ns, image);

	if (type && type->each_child && type->check && type->check(image) == 0)
		type->each_child(image, mend_child, c);
}

static void put_images(struct pagefile *pf, const struct fuzz_pages *pages,
		       struct noderef refs[FUZZ_PAGES_MAX])
{
	const struct nodes_opts no = { .epoch = 1 };
	struct nodes *ns;

	FUZZ_MUST(nodes_new_cache(&no, &ns));
	rope_register(ns);
	catalog_register(ns);
	for (unsigned i = pages->n; i-- > 0;) {
		struct children c = { refs, i + 1, pages->n };
		uint64_t page;

		mend_children(ns, pages->images[i], &c);
		FUZZ_MUST(pagefile_alloc(pf, &page));
		refs[i].birth = ((const struct node_head *)pages->images[i])->birth;
		FUZZ_MUST(pagefile_write(pf, page, pages->images[i], &refs[i]));
	}
	nodes_free_cache(ns);
}

/* Another superblock over the one in use, of what generation it likes. */
static void put_super(struct io *io, const struct fuzz_pages *pages,
		      const struct noderef *root, const struct noderef *bitmap)
{
	_cleanup_(io_closep) struct io_file *f = NULL;
	struct super_env env = { .io = io, .store_id = keys_store_id(fuzz_keys()) };
	struct super_state was, s;
	struct aead *aead;

	FUZZ_MUST(io_open(io, PAGEFILE_NAME, IO_WRITE, &f));
	FUZZ_MUST(keys_aead(fuzz_keys(), KEY_PAGE, NULL, &aead));
	env.file = f;
	env.aead = aead;
	FUZZ_MUST(superblock_newest(&env, &was));
	s = was;
	if (pages->super)
		superblock_body_get(pages->super, &s);
	s.pages %= PAGES_SPOKEN; /* more would take their memory, and nothing else */
	s.super.catalog = root ? *root : was.super.catalog;
	s.bitmap = bitmap ? *bitmap : was.bitmap;
	for (unsigned i = 0; i < SUPER_SLOTS; i++, s.super.generation++)
		FUZZ_MUST(superblock_write(&env, &s));
	aead_free(aead);
}

void fuzz_put_pages(struct io *io, const struct fuzz_pages *pages)
{
	struct noderef refs[FUZZ_PAGES_MAX], bitmap = NODEREF_NONE;
	struct pagefile *pf;
	struct super super;
	uint64_t page;

	FUZZ_MUST(pagefile_open(io, fuzz_keys(), false, &super, &pf));
	put_images(pf, pages, refs);
	if (pages->bitmap) {
		FUZZ_MUST(pagefile_alloc(pf, &page));
		FUZZ_MUST(pagefile_write(pf, page, pages->bitmap, &bitmap));
	}
	if (pages->n)
		super.catalog = refs[0];
	super.next_ino = (uint64_t)1 << 40; /* above most that an input has */
	FUZZ_MUST(pagefile_commit(pf, &super));
	pagefile_close(pf);
	if (pages->super || pages->bitmap)
		put_super(io, pages, pages->n ? &refs[0] : NULL,
			  pages->bitmap ? &bitmap : NULL);
}

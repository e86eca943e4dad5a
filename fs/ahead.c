#include "fs/ahead.h"

enum { TURNS_MIN = 16 };

bool ahead_wrote(struct ahead *a, uint64_t ino)
{
	if (atomic_exchange_explicit(&a->written, ino, memory_order_relaxed))
		atomic_store_explicit(&a->turns, 0, memory_order_relaxed);
	return atomic_load_explicit(&a->turns, memory_order_relaxed) >= TURNS_MIN;
}

void ahead_synced(struct ahead *a, uint64_t ino)
{
	unsigned turns = atomic_load_explicit(&a->turns, memory_order_relaxed);
	bool in_turn =
		atomic_exchange_explicit(&a->written, 0, memory_order_relaxed) == ino;

	if (!in_turn)
		turns = 0;
	else if (turns < TURNS_MIN)
		turns++;
	atomic_store_explicit(&a->turns, turns, memory_order_relaxed);
}

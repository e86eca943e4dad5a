/* secret_text.c - passwords: texts in secret memory, and what work on them leaves elsewhere. */
#include <sodium.h>
#include <string.h>

#include "core/keys/secret.h"

enum { FORGET_STACK = 32768 };

int secret_text(const char *from, char **ret)
{
	void *p = NULL;
	int r = from ? secret_new(strlen(from) + 1, &p) : 0;

	if (r < 0)
		return r;
	if (from)
		memcpy(p, from, strlen(from) + 1);
	*ret = p;
	return 0;
}

#ifdef __x86_64__
__attribute__((target("avx512f"))) static void clear_upper(void)
{
	__asm__ volatile("vpxorq %%zmm16, %%zmm16, %%zmm16\n\t"
			 "vmovdqa64 %%zmm16, %%zmm17\n\t"
			 "vmovdqa64 %%zmm16, %%zmm18\n\t"
			 "vmovdqa64 %%zmm16, %%zmm19\n\t"
			 "vmovdqa64 %%zmm16, %%zmm20\n\t"
			 "vmovdqa64 %%zmm16, %%zmm21\n\t"
			 "vmovdqa64 %%zmm16, %%zmm22\n\t"
			 "vmovdqa64 %%zmm16, %%zmm23\n\t"
			 "vmovdqa64 %%zmm16, %%zmm24\n\t"
			 "vmovdqa64 %%zmm16, %%zmm25\n\t"
			 "vmovdqa64 %%zmm16, %%zmm26\n\t"
			 "vmovdqa64 %%zmm16, %%zmm27\n\t"
			 "vmovdqa64 %%zmm16, %%zmm28\n\t"
			 "vmovdqa64 %%zmm16, %%zmm29\n\t"
			 "vmovdqa64 %%zmm16, %%zmm30\n\t"
			 "vmovdqa64 %%zmm16, %%zmm31" ::
				 : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",
				   "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
				   "xmm28", "xmm29", "xmm30", "xmm31");
}

__attribute__((target("avx"))) static void clear_lower(void)
{
	__asm__ volatile("vzeroall" ::
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
				   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
				   "xmm13", "xmm14", "xmm15");
}

static void clear_registers(void)
{
	if (__builtin_cpu_supports("avx512f"))
		clear_upper();
	if (__builtin_cpu_supports("avx"))
		clear_lower();
}
#else
static void clear_registers(void)
{
}
#endif

void secret_forget(void)
{
	clear_registers();
	sodium_stackzero(FORGET_STACK);
}

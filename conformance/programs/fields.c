// Calls that have a structure to look into.
#include <stdint.h>

struct bits { uint32_t a : 3; uint32_t b : 5; int32_t c : 4; uint32_t : 0; uint32_t d; };
struct outer { int n; struct { short s; char t[4]; } in; long many[2]; char *p; };
union both { unsigned int whole; unsigned char bytes[4]; };

__attribute__((noinline)) void show(struct bits *b) { __asm__ volatile("" : : "r"(b) : "memory"); }
__attribute__((noinline)) void whole(struct outer *o) { __asm__ volatile("" : : "r"(o) : "memory"); }
__attribute__((noinline)) void either(union both *u) { __asm__ volatile("" : : "r"(u) : "memory"); }

int main(void)
{
	struct bits bits = {.a = 5, .b = 17, .c = -3, .d = 0xdeadbeef};
	struct outer outer = {.n = 7, .in = {-2, "abc"}, .many = {1, -9}, .p = "text"};
	union both both = {.whole = 0x01020304};
	show(&bits);
	whole(&outer);
	either(&both);
	return 0;
}

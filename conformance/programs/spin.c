/* Burns CPU time in burn() for MILLISECONDS of it, under another user if UID is given. usage: spin MILLISECONDS [UID] */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long work;

__attribute__((noinline)) void burn(void)
{
	for (int i = 0; i < 10000; i++)
		work += i;
}

int main(int argc, char **argv)
{
	struct timespec used;
	long limit = argc > 1 ? atol(argv[1]) : 200;
	if (argc > 2 && setuid(atoi(argv[2])))
		return 1;
	do {
		burn();
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	} while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < limit);
	return 0;
}

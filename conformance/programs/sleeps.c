/* Sleeps 1, 2, 4, ... milliseconds, COUNT times, by nanosleep(2) itself. usage: sleeps [COUNT] */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((noinline)) void doze(long milliseconds)
{
	struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	syscall(SYS_nanosleep, &time, NULL);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 4;
	for (int i = 0; i < count; i++)
		doze(1L << i);
	return 0;
}

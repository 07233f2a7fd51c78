/* events N: N times read(2) of one byte from /dev/zero and access(2) of a short path, on one CPU. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 1;
	char buffer[1024];
	int zero = open("/dev/zero", O_RDONLY);
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (zero < 0 || sched_setaffinity(0, sizeof(first), &first)) {
		perror("events");
		return 1;
	}
	for (long i = 0; i < count; i++) {
		if (read(zero, buffer, 1 + i % sizeof(buffer)) < 0)
			return 1;
		access("/etc/hostname", R_OK);
	}
	return 0;
}

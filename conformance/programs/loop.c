/* Calls tick(i) and getppid() about every 5 ms until it is ended. usage: loop */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((noinline)) int tick(int i)
{
	return i + 1;
}

int main(void)
{
	for (int i = 0;; i = tick(i)) {
		syscall(SYS_getppid);
		usleep(5000);
	}
}

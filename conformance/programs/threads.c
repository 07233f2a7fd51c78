/* Three named threads call getppid() 1, 2 and 3 times. usage: threads */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *work(void *argument)
{
	long times = (long)argument;
	char name[16];
	snprintf(name, sizeof name, "worker-%ld", times);
	pthread_setname_np(pthread_self(), name);
	for (long i = 0; i < times; i++)
		syscall(SYS_getppid);
	return NULL;
}

int main(void)
{
	pthread_t threads[3];
	for (long i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

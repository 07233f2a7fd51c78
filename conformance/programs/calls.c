/* outer(n) calls inner(i, i * 10) for i in 0..n; inner returns the sum. usage: calls [N] */
#include <stdio.h>
#include <stdlib.h>

int counter = 7;
struct point { int x; long y; char name[8]; };

__attribute__((noinline)) int inner(int a, int b)
{
	counter++;
	return a + b;
}

__attribute__((noinline)) int outer(int n)
{
	int sum = 0;
	for (int i = 0; i < n; i++)
		sum += inner(i, i * 10);
	return sum;
}

__attribute__((noinline)) long text(const char *words, struct point *point, unsigned char *bytes)
{
	return words[0] + point->x + bytes[0];
}

int main(int argc, char **argv)
{
	struct point point = {3, -4000000000L, "origin"};
	unsigned char bytes[8] = {1, 2, 254, 255, 'a', 'b', 10, 0};
	const char *words = "hello world";
	volatile char touched = words[0]; /* so that its page is there to be read */
	int sum = outer(argc > 1 ? atoi(argv[1]) : 3);
	return sum < 0 || text(words, &point, bytes) + touched < 0;
}

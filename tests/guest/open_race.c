// SPDX-License-Identifier: GPL-2.0
/*
 * Opens /dev/neural again and again from several threads, until SIGTERM. Each
 * open must work, and then a query too, or fail because there is no device.
 * Needs /dev/neural to come and go; prints how often it did what.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/neural.h>

#define THREADS 3

static atomic_bool stop;
static atomic_ulong opened, missing, wrong;

static void on_term(int signal)
{
	(void)signal;
	stop = true;
}

static void *race(void *arg)
{
	(void)arg;
	while (!stop) {
		struct neural_query query = { 0 };
		int fd = open("/dev/neural", O_RDWR);

		if (fd >= 0) {
			opened++;
			if (ioctl(fd, NEURAL_IOC_QUERY, &query)) {
				printf("# query: %s\n", strerror(errno));
				wrong++;
			}
			close(fd);
		} else if (errno == ENOENT || errno == ENXIO ||
			   errno == ENODEV) {
			missing++;
		} else {
			printf("# open: %s\n", strerror(errno));
			wrong++;
		}
		/* The module can be unloaded only while nobody has it open. */
		usleep(500);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	int i;

	signal(SIGTERM, on_term);
	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, race, NULL);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("# opened %lu times, not there %lu times\n", opened, missing);
	return wrong || !opened || !missing;
}

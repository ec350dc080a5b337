// SPDX-License-Identifier: GPL-2.0
/*
 * Puts a module in and takes it out again, many times, without the programs of
 * which each starts longer than that takes:
 *
 *	module_cycle MODULE.ko PARAMETERS COUNT
 *
 * While somebody has the device open, taking it out is tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc == 4 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	int i, count = argc == 4 ? atoi(argv[3]) : 0;
	char *name;

	if (fd < 0 || count < 1) {
		fprintf(stderr,
			"usage: module_cycle MODULE.ko PARAMETERS COUNT\n");
		return 2;
	}
	name = basename(argv[1]);
	name[strcspn(name, ".")] = '\0';
	for (i = 0; i < count; i++) {
		if (syscall(SYS_finit_module, fd, argv[2], 0)) {
			fprintf(stderr, "round %d: in: %s\n", i,
				strerror(errno));
			return 1;
		}
		while (syscall(SYS_delete_module, name, O_NONBLOCK)) {
			if (errno != EAGAIN && errno != EBUSY) {
				fprintf(stderr, "round %d: out: %s\n", i,
					strerror(errno));
				return 1;
			}
			usleep(1000);
		}
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Loads a model, replaces it, predicts, and unloads it, many times:
 *
 *	nnm_cycle MODEL.nnm COUNT
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/neural.h>

static char text[NEURAL_MSG_LEN];

static int call(int dev, unsigned long cmd, void *arg, const char *what)
{
	if (!ioctl(dev, cmd, arg))
		return 0;
	perror(what);
	fprintf(stderr, "%s\n", text);
	return 1;
}

int main(int argc, char **argv)
{
	static uint8_t model[16 << 20];
	struct neural_msg msg = { .text = (uintptr_t)text,
				  .len = sizeof(text) };
	int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;
	int dev = open("/dev/neural", O_RDWR);
	ssize_t size = fd < 0 ? -1 : read(fd, model, sizeof(model));
	int i, count = argc == 3 ? atoi(argv[2]) : 0;

	if (size < 0 || dev < 0) {
		fprintf(stderr,
			"usage: nnm_cycle MODEL.nnm COUNT, with the module loaded\n");
		return 2;
	}
	for (i = 0; i < count; i++) {
		struct neural_load load = { .msg = msg,
					    .data = (uintptr_t)model,
					    .size = size,
					    .name = "cycle" };
		struct neural_name name = { .msg = msg, .name = "cycle" };

		if (call(dev, NEURAL_IOC_LOAD, &load, "load") ||
		    call(dev, NEURAL_IOC_REPLACE, &load, "replace") ||
		    call(dev, NEURAL_IOC_UNLOAD, &name, "unload"))
			return 1;
	}
	return 0;
}

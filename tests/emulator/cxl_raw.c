// SPDX-License-Identifier: GPL-2.0
/*
 * Send a raw command to a CXL memory device, and say what became of it.
 *
 * usage: cxl_raw MEMDEV OPCODE	as mem0 0xc001
 *
 * Prints the name of the errno, or "sent" and the device's return code.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/cxl_mem.h>

int main(int argc, char **argv)
{
	static unsigned char out[256];
	struct cxl_send_command cmd = {
		.id = CXL_MEM_COMMAND_ID_RAW,
		.out.size = sizeof(out),
		.out.payload = (unsigned long)out,
	};
	char path[64];
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: cxl_raw MEMDEV OPCODE\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/dev/cxl/%s", argv[1]);
	cmd.raw.opcode = strtoul(argv[2], NULL, 0);

	fd = open(path, O_RDWR);
	if (fd < 0) {
		perror(path);
		return 2;
	}
	if (ioctl(fd, CXL_MEM_SEND_COMMAND, &cmd))
		puts(strerrorname_np(errno));
	else
		printf("sent %u\n", cmd.retval);
	return 0;
}

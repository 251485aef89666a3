// SPDX-License-Identifier: GPL-2.0
/*
 * Change the machine's memory map while a processor uses it: switch the memory
 * decoding of a PCI device, which no driver uses, off and on many times. Meanwhile
 * another thread reads a register of another device, which has to be what it was
 * before. It rests between two reads, because who waits for one while the map
 * changes has found the register before.
 *
 * usage: pci_decode DEVICE TIMES FILE		as 0000:21:00.0, resourceN of another
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_bool stop;
static atomic_ulong reads, wrong;

static void *reader(void *arg)
{
	volatile uint32_t *reg = arg;
	uint32_t value = *reg;

	while (!stop) {
		for (volatile unsigned int rest = reads * 7919 % 20000; rest; rest--)
			;
		wrong += *reg != value;
		reads++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint16_t command, off, now;
	unsigned long times;
	char path[64];
	pthread_t t;
	void *reg;
	int fd, other;

	if (argc != 4)
		return 2;
	times = strtoul(argv[2], NULL, 10);
	other = open(argv[3], O_RDONLY);
	reg = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, other, 0);
	if (other < 0 || reg == MAP_FAILED) {
		fprintf(stderr, "%s: %s\n", argv[3], strerror(errno));
		return 1;
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.20s/config", argv[1]);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &command, 2, PCI_COMMAND) != 2 ||
	    pthread_create(&t, NULL, reader, reg))
		goto fail;
	command |= PCI_COMMAND_MEMORY;
	off = command & ~PCI_COMMAND_MEMORY;
	for (unsigned long i = 0; i < times; i++)
		if (pwrite(fd, &off, 2, PCI_COMMAND) != 2 ||
		    pread(fd, &now, 2, PCI_COMMAND) != 2 || now != off ||
		    pwrite(fd, &command, 2, PCI_COMMAND) != 2 ||
		    pread(fd, &now, 2, PCI_COMMAND) != 2 || now != command)
			goto fail;
	stop = 1;
	pthread_join(t, NULL);
	printf("%08x: %lu of %lu reads wrong during %lu changes\n", *(volatile uint32_t *)reg,
	       wrong, reads, 2 * times);
	return wrong || !reads;
fail:
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 1;
}

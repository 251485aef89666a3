// SPDX-License-Identifier: GPL-2.0
/*
 * Pull the device out of a PCIe slot without telling its driver, as far as that
 * can be done from inside a guest: QEMU takes away what is in a slot as soon as
 * its power and its power indicator are off. User space writes that to the port,
 * past pciehp, and then what was there before: pciehp finds a slot with power and
 * nothing in it.
 *
 * usage: pci_pull PORT		as 0000:20:00.0
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint8_t pos = 0, id = 0;
	uint16_t control, off;
	char path[64];
	int fd, n = 48;

	if (argc != 2)
		return 2;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.20s/config", argv[1]);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &pos, 1, PCI_CAPABILITY_LIST) != 1)
		goto fail;
	while (pos && n-- && pread(fd, &id, 1, pos) == 1 && id != PCI_CAP_ID_EXP)
		if (pread(fd, &pos, 1, pos + PCI_CAP_LIST_NEXT) != 1)
			goto fail;
	if (id != PCI_CAP_ID_EXP ||
	    pread(fd, &control, sizeof(control), pos + PCI_EXP_SLTCTL) != sizeof(control))
		goto fail;
	/* Without interrupts, which would come too early */
	off = (control & ~PCI_EXP_SLTCTL_HPIE) | PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC;
	if (pwrite(fd, &off, sizeof(off), pos + PCI_EXP_SLTCTL) == sizeof(off) &&
	    pwrite(fd, &control, sizeof(control), pos + PCI_EXP_SLTCTL) == sizeof(control))
		return 0;
fail:
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 1;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Pull the device out of a PCIe slot without telling its driver, as far as that
 * can be done from inside a guest: QEMU takes away what is in a slot as soon as
 * its power and its power indicator are off. User space writes that to the port,
 * past pciehp, and then what was there before: pciehp finds a slot with power and
 * nothing in it.
 *
 * usage: pci_pull PORT			as 0000:20:00.0
 *        pci_pull PORT on|off	succeeds when the slot is occupied and on, or
 *					empty and off, and pciehp is done with it:
 *					it sets the power indicator last
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
	uint16_t control, status, off;
	char path[64];
	int fd, n = 48;

	if (argc != 2 && (argc != 3 || (strcmp(argv[2], "on") && strcmp(argv[2], "off"))))
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
	off = PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC;
	if (argc == 3) {
		if (pread(fd, &status, sizeof(status), pos + PCI_EXP_SLTSTA) != sizeof(status))
			goto fail;
		printf("control %04x, status %04x\n", control, status);
		if (!strcmp(argv[2], "off"))
			return (control & off) != off || (status & PCI_EXP_SLTSTA_PDS);
		return (control & off) != (PCI_EXP_SLTCTL_PWR_ON | PCI_EXP_SLTCTL_PWR_IND_ON) ||
			!(status & PCI_EXP_SLTSTA_PDS);
	}
	/* Without interrupts, which would come too early */
	off |= control & ~PCI_EXP_SLTCTL_HPIE;
	if (pwrite(fd, &off, sizeof(off), pos + PCI_EXP_SLTCTL) == sizeof(off) &&
	    pwrite(fd, &control, sizeof(control), pos + PCI_EXP_SLTCTL) == sizeof(control))
		return 0;
fail:
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 1;
}

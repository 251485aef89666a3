// SPDX-License-Identifier: GPL-2.0
/*
 * Opcodes that a driver has to itself, with no command id of the kernel's.
 *
 * set_exclusive_cxl_commands() closes commands that the ioctl knows by an id.
 * Vendor commands have none: user space sends them raw, by opcode. A driver of
 * such commands closes them here while it relies on what they say and set, per
 * mailbox. What the kernel itself sends is not looked at. fwctl sends Feature
 * commands only, never these.
 */
#include <linux/cleanup.h>
#include <linux/lockdep.h>
#include <linux/rwsem.h>
#include <cxlmem.h>

#include "core.h"

static bool __cxl_opcode_is_owned(struct cxl_mailbox *cxl_mbox, u16 opcode)
{
	struct cxl_opcode_owner *owner;

	for (owner = cxl_mbox->opcode_owners; owner; owner = owner->next) {
		for (int i = 0; i < owner->nr_opcodes; i++) {
			if (owner->opcodes[i] == opcode)
				return true;
		}
	}
	return false;
}

/**
 * cxl_own_opcodes() - Close opcodes to user space
 * @cxl_mbox: The mailbox that takes them
 * @owner: which ones
 *
 * When this succeeds, no such command of user space is on its way to the device.
 *
 * Return: 0, or -EBUSY: one of them has another owner.
 */
int cxl_own_opcodes(struct cxl_mailbox *cxl_mbox, struct cxl_opcode_owner *owner)
{
	guard(rwsem_write)(&cxl_memdev_rwsem);
	for (int i = 0; i < owner->nr_opcodes; i++) {
		if (__cxl_opcode_is_owned(cxl_mbox, owner->opcodes[i]))
			return -EBUSY;
	}
	owner->next = cxl_mbox->opcode_owners;
	cxl_mbox->opcode_owners = owner;
	return 0;
}
EXPORT_SYMBOL_NS_GPL(cxl_own_opcodes, "CXL");

/**
 * cxl_disown_opcodes() - The end of cxl_own_opcodes()
 * @cxl_mbox: The mailbox
 * @owner: as it was given there
 */
void cxl_disown_opcodes(struct cxl_mailbox *cxl_mbox,
			struct cxl_opcode_owner *owner)
{
	struct cxl_opcode_owner **link = &cxl_mbox->opcode_owners;

	guard(rwsem_write)(&cxl_memdev_rwsem);
	while (*link != owner)
		link = &(*link)->next;
	*link = owner->next;
}
EXPORT_SYMBOL_NS_GPL(cxl_disown_opcodes, "CXL");

/* Called by the ioctl before a raw command */
bool cxl_opcode_is_owned(struct cxl_mailbox *cxl_mbox, u16 opcode)
{
	lockdep_assert_held(&cxl_memdev_rwsem);
	return __cxl_opcode_is_owned(cxl_mbox, opcode);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * CONFIG_FAIL_CRAM: calls of the engine and of its controller can be made to fail
 * that no other capability for fault injection reaches. A charge fails at a limit,
 * a split when somebody has a reference, a device when it is broken; a test would
 * have to be lucky to see each of them do so at each place.
 *
 * debugfs fail_cram/, fail_cram= on the command line and /proc/PID/fail-nth, as
 * Documentation/fault-injection/fault-injection.rst says.
 */
#include <linux/cgroup_cram.h>
#include <linux/fault-inject.h>
#include <linux/init.h>

static DECLARE_FAULT_ATTR(fail_cram);

/**
 * cram_should_fail - is the call that comes next to be taken for failed?
 *
 * Context: any.
 * Return: true if so; the caller does not make the call then.
 */
bool cram_should_fail(void)
{
	return should_fail(&fail_cram, 1);
}

static int __init cram_fail_setup(char *str)
{
	return setup_fault_attr(&fail_cram, str);
}
__setup("fail_cram=", cram_fail_setup);

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
static int __init cram_fail_debugfs_init(void)
{
	return PTR_ERR_OR_ZERO(fault_create_debugfs_attr("fail_cram", NULL, &fail_cram));
}
late_initcall(cram_fail_debugfs_init);
#endif

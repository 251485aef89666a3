// SPDX-License-Identifier: GPL-2.0-or-later
/* What each rule of admission means, and what would change that. */
#include "cramcg.h"

static const struct refusal refusals[NR_REFUSALS] = {
	[COUNTER_refuse_off - FIRST_REFUSAL] = {
		"demotion is switched off for the machine",
		"echo 1 > /sys/kernel/mm/cram/enabled" },
	[COUNTER_refuse_memcg - FIRST_REFUSAL] = {
		"the memory controller is not on the cgroup v2 hierarchy",
		"boot without cgroup_disable=memory and with systemd.unified_cgroup_hierarchy=1" },
	[COUNTER_refuse_right - FIRST_REFUSAL] = {
		"no cram node in cram.nodes.effective",
		"cramcg set CGROUP nodes=LIST, here or above; cramcg nodes shows which there are" },
	[COUNTER_refuse_max - FIRST_REFUSAL] = {
		"cram.max of the cgroup or of an ancestor is reached, or cram.node.max of every node",
		"cramcg set CGROUP max=SIZE with more than is resident" },
	[COUNTER_refuse_state - FIRST_REFUSAL] = {
		"no permitted node is open",
		"cramcg nodes shows the states; a node that is low needs swap or fewer pages" },
	[COUNTER_refuse_room - FIRST_REFUSAL] = {
		"no permitted node has room for one more page",
		"nothing if it is a burst; else the device is full: lower cram.max of what compresses badly" },
	[COUNTER_refuse_page - FIRST_REFUSAL] = {
		"the node has cells enough but no free page",
		"nothing: all addresses of the node are used" },
	[COUNTER_refuse_content - FIRST_REFUSAL] = {
		"pages do not compress as well as cram.page.max, or page_max of the node, permit",
		"cramcg set CGROUP page.max=SIZE with more, if such pages are wanted on the device" },
	[COUNTER_refuse_compressed - FIRST_REFUSAL] = {
		"cram.compressed.max of the cgroup or of an ancestor is reached",
		"cramcg set CGROUP compressed.max=SIZE with more than cram.compressed.current" },
};

const struct refusal *refusal_words(enum counter counter)
{
	return &refusals[counter - FIRST_REFUSAL];
}

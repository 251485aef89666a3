// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs, in the order of --help.  A new one is a file of its own and a word here. */
#include <string.h>

#include "cramcg.h"

const struct verb *const verbs[] = {
	&verb_list, &verb_show, &verb_set, &verb_enable, &verb_reclaim, &verb_demote,
	&verb_run, &verb_watch, &verb_top, &verb_advise,
	&verb_nodes, &verb_node, &verb_drain,
	&verb_apply, &verb_apply_unit, &verb_dump, &verb_doctor, &verb_metrics, NULL
};

const struct verb *find_verb(const char *name)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (!strcmp((*v)->name, name))
			return *v;
	return NULL;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "manager.h"

int manager_connect(sd_bus **out)
{
	sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, 30 * 1000000ULL);
	if (r < 0)
		sd_bus_unref(bus);
	else
		*out = bus;
	return r < 0 ? r : 0;
}

void unit_free(struct unit *unit)
{
	for (char **f = unit->files; f && *f; f++)
		free(*f);
	free(unit->files);
	free(unit->cgroup);
	*unit = (struct unit) { 0 };
}

static size_t count(char **list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* The unit file, if there is one, and its drop-ins: all become the list's */
static char **join(char *fragment, char **dropins)
{
	size_t n = count(dropins), first = *fragment != '\0';
	char **all = calloc(n + 2, sizeof(*all));

	if (!all || !first) {
		free(fragment);
		fragment = NULL;
	}
	if (first && all)
		all[0] = fragment;
	for (size_t i = 0; i < n; i++) {
		if (all)
			all[first + i] = dropins[i];
		else
			free(dropins[i]);
	}
	free(dropins);
	return all;
}

int manager_unit(sd_bus *bus, const char *name, struct unit *unit)
{
	_cleanup_free_ char *object = NULL, *interface = NULL;
	const char *section = unit_section(name);
	char *fragment = NULL, **dropins = NULL;
	int r;

	*unit = (struct unit) { 0 };
	if (!section || sd_bus_path_encode(MANAGER_PATH "/unit", name, &object) < 0)
		return -EINVAL;
	if (asprintf(&interface, MANAGER ".%s", section) < 0) {
		interface = NULL;
		return -ENOMEM;
	}
	r = sd_bus_get_property_string(bus, MANAGER, object, interface, "ControlGroup", NULL, &unit->cgroup);
	if (r >= 0)
		r = sd_bus_get_property_string(bus, MANAGER, object, MANAGER ".Unit", "FragmentPath", NULL, &fragment);
	if (r >= 0)
		r = sd_bus_get_property_strv(bus, MANAGER, object, MANAGER ".Unit", "DropInPaths", NULL, &dropins);
	if (r >= 0) {
		unit->files = join(fragment, dropins);
		r = unit->files ? 0 : -ENOMEM;
	} else {
		free(fragment);
	}
	if (r < 0)
		unit_free(unit);
	return r;
}

/* a-b.slice is in a.slice; the manager of a container has all below a cgroup of its own */
char *slice_cgroup(sd_bus *bus, const char *name)
{
	_cleanup_free_ char *root = NULL;
	size_t len = strlen(name), size;
	char *path = NULL;
	FILE *f;

	if (len < 7 || strcmp(name + len - 6, ".slice") || strchr(name, '/'))
		return NULL;
	if (sd_bus_get_property_string(bus, MANAGER, MANAGER_PATH, MANAGER ".Manager",
				       "ControlGroup", NULL, &root) < 0)
		return NULL;
	f = open_memstream(&path, &size);
	if (!f)
		return NULL;
	fputs(strcmp(root, "/") ? root : "", f);
	for (size_t i = 1; i <= len - 6 && strcmp(name, "-.slice"); i++)
		if (name[i] == '-' || i == len - 6)
			fprintf(f, "/%.*s.slice", (int)i, name);
	if (!fclose(f))
		return path;
	free(path);
	return NULL;
}

int unit_load(struct cramcg *ctx, const char *name, const struct unit *unit,
	      struct unit_settings *u, unit_fault_fn fn, void *arg)
{
	int err = 0;

	*u = (struct unit_settings) { 0 };
	for (char **f = unit->files; *f && !err; f++) {
		size_t len;
		_cleanup_free_ char *text = unit_file_read(AT_FDCWD, *f, &len);

		/* One that was removed meanwhile says nothing */
		if (text && unit_file_mentions(text, len))
			err = unit_settings_parse(ctx, u, unit_section(name), *f, text, len, fn, arg);
	}
	return err;
}

static int add_all(struct cramcg_plan *plan, struct cramcg *ctx, const char *cgroup,
		   const struct unit_settings *u, char **message)
{
	for (size_t i = 0; i < u->n; i++) {
		const struct unit_setting *p = &u->list[i];
		int err = cramcg_plan_add(plan, 'c', cgroup, &p->s);

		if (!err)
			continue;
		if (asprintf(message, "%s:%d: %s=: %s", p->file, p->line, p->property, cramcg_error(ctx)) < 0)
			*message = NULL;
		return err;
	}
	return 0;
}

int unit_apply(struct cramcg *ctx, const char *cgroup, const struct unit_settings *u,
	       char **message)
{
	struct cramcg_plan *plan = NULL;
	int err = cramcg_available(ctx);

	*message = NULL;
	if (!err)
		err = cramcg_enable(ctx, cgroup);
	if (!err)
		err = cramcg_plan_new(ctx, &plan);
	if (!err)
		err = add_all(plan, ctx, cgroup, u, message);
	if (!err)
		err = cramcg_plan_commit(plan);
	if (err && !*message)
		*message = strdup(cramcg_error(ctx));
	cramcg_plan_free(plan);
	return err;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg run: a command with limits that are in force before its first instruction.
 *
 * With systemd: a transient scope takes this process, the limits are set, and then the
 * process becomes the command, so status and signals need no passing.  Without systemd:
 * a cgroup below our own parent, a child in it, and signals passed on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "cramcg.h"

enum { O_SLICE = 256, O_UNIT, O_CGROUP };
static const struct option_row options[] = {
	{ "slice", O_SLICE, "SLICE", "put the scope there" },
	{ "unit", O_UNIT, "NAME", "call the scope so" },
	{ "cgroup", O_CGROUP, "PATH", "no systemd: make this cgroup, remove it afterwards" },
	{ 0 }
};

static int set_limits(struct cramcg *ctx, const char *path, const struct cramcg_setting *s, int n)
{
	int err = cramcg_enable(ctx, path);

	if (!err)
		err = cramcg_set(ctx, path, s, n);
	return err ? report_error(ctx, err) : 0;
}

static int become(char **command)
{
	execvp(command[0], command);
	return report(errno == ENOENT ? 127 : 126, "%s: %s", command[0], strerror(errno));
}

/* --- a scope of systemd ------------------------------------------------------------- */

static int start_scope(sd_bus *bus, const char *name, const char *slice, sd_bus_error *error)
{
	sd_bus_message *m = NULL;
	int r;

	r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1",
					   "/org/freedesktop/systemd1",
					   "org.freedesktop.systemd1.Manager", "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(m, "ss", name, "fail");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)",
					  "Description", "s", "cramcg run",
					  "PIDs", "au", 1, (uint32_t)getpid(),
					  "CollectMode", "s", "inactive-or-failed",
					  "Delegate", "b", 0);
	if (r >= 0 && slice)
		r = sd_bus_message_append(m, "(sv)", "Slice", "s", slice);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_call(bus, m, 0, error, NULL);
	sd_bus_message_unref(m);
	return r;
}

/* The job moves us; that takes milliseconds */
static int wait_for_scope(struct cramcg *ctx, const char *name, char **path)
{
	struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };

	for (int i = 0; i < 3000; i++) {
		int err = cramcg_path_of_pid(ctx, 0, path);

		if (err)
			return report_error(ctx, err);
		if (!strcmp(strrchr(*path, '/') + 1, name))
			return 0;
		free(*path);
		*path = NULL;
		nanosleep(&tick, NULL);
	}
	return report(STATUS_FAILED, "%s: systemd did not start the scope within 30 seconds", name);
}

static int in_scope(struct cramcg *ctx, const char *unit, const char *slice,
		    const struct cramcg_setting *s, int n, char **command)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *path = NULL, *name = NULL;
	sd_bus *bus = NULL;
	int r, status;

	if ((unit ? asprintf(&name, "%s%s", unit, is_unit_name(unit) ? "" : ".scope") :
	     asprintf(&name, "cramcg-run-%d.scope", getpid())) < 0) {
		name = NULL;
		return report(STATUS_FAILED, "out of memory");
	}
	r = geteuid() ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
	if (r >= 0)
		r = start_scope(bus, name, slice, &error);
	status = r < 0 ? report(STATUS_FAILED, "%s: systemd does not start it: %s", name,
				error.message ? error.message : strerror(-r)) : 0;
	sd_bus_error_free(&error);
	sd_bus_flush_close_unref(bus);
	if (!status)
		status = wait_for_scope(ctx, name, &path);
	if (!status)
		status = set_limits(ctx, path, s, n);
	return status ? status : become(command);
}

/* --- a cgroup of our own -------------------------------------------------------------- */

static pid_t child_pid;

static void pass_on(int number)
{
	kill(child_pid, number);
}

static int wait_child(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
	struct sigaction action = { .sa_handler = pass_on, .sa_flags = SA_RESTART };
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	while (waitpid(child_pid, &status, 0) < 0)
		if (errno != EINTR)
			return STATUS_FAILED;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The child joins before it becomes the command */
static int spawn(const char *dir, char **command)
{
	_cleanup_free_ char *procs = NULL;
	_cleanup_close_ int fd = -1;

	if (asprintf(&procs, "%s/cgroup.procs", dir) < 0) {
		procs = NULL;
		return report(STATUS_FAILED, "out of memory");
	}
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return report(STATUS_FAILED, "%s: %s", procs, strerror(errno));
	fflush(NULL);
	child_pid = fork();
	if (child_pid < 0)
		return report(STATUS_FAILED, "fork: %s", strerror(errno));
	if (!child_pid) {
		if (write(fd, "0", 1) != 1)
			_exit(report(STATUS_FAILED, "%s: \"0\" not written: %s", procs, strerror(errno)));
		_exit(become(command));
	}
	return wait_child();
}

static int in_cgroup(struct cramcg *ctx, const char *path, const struct cramcg_setting *s, int n,
		     char **command)
{
	_cleanup_free_ char *dir = NULL, *checked = NULL;
	int status;

	if (*path != '/' || asprintf(&dir, "%s%s", cramcg_mount(ctx), path) < 0) {
		dir = NULL;
		return report(STATUS_USAGE, "%s: the path of a cgroup starts with /", path);
	}
	if (mkdir(dir, 0755))
		return report(STATUS_FAILED, "%s: %s", dir, strerror(errno));
	status = cramcg_path(ctx, path, &checked);
	if (status)
		status = report_error(ctx, status);
	else
		status = set_limits(ctx, checked, s, n);
	if (!status)
		status = spawn(dir, command);
	/* Not empty if the command left something running, or in a recorded tree */
	rmdir(dir);
	return status;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	const char *slice = NULL, *unit = NULL, *cgroup = NULL;
	_cleanup_free_ struct cramcg_setting *s = calloc(argc, sizeof(*s));
	int c, n = 0;

	while ((c = next_option(&verb_run, argc, argv)) != -1) {
		switch (c) {
		case O_SLICE: slice = optarg; break;
		case O_UNIT: unit = optarg; break;
		case O_CGROUP: cgroup = optarg; break;
		}
	}
	argv += optind;
	/* getopt has eaten the "--" when no limit came before it */
	if (optind && !strcmp(argv[-1], "--"))
		n = 0;
	else
		while (argv[n] && strcmp(argv[n], "--"))
			n++;
	if (argv[n] && !strcmp(argv[n], "--") && argv[n + 1])
		argv[n++] = NULL;
	else if (!argv[n] || n)
		return report(STATUS_USAGE, "a command comes after --; see cramcg run --help");
	c = n ? n - 1 : 0;
	if (!s || !split_settings(c, argv, s))
		return STATUS_USAGE;
	for (int i = 0; i < c; i++) {
		_cleanup_free_ char *text = NULL;
		int err = cramcg_canonical(ctx, &s[i], &text);

		if (err)
			return report_error(ctx, err);
	}
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	if (cgroup)
		return in_cgroup(ctx, cgroup, s, c, argv + n);
	if (access("/run/systemd/system", F_OK))
		return report(STATUS_MISSING, "systemd does not run here: say --cgroup PATH");
	return in_scope(ctx, unit, slice, s, c, argv + n);
}

const struct verb verb_run = {
	.name = "run", .args = "[KEY=VALUE...] -- COMMAND...", .summary = "run a command with limits in force from the start",
	.example = "cramcg run max=1G writable_budget=64M -- make -j8",
	.options = options, .completes = "none", .run = run,
};

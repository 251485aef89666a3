// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg run: a command with limits that are in force before its first instruction.
 *
 * With systemd: a transient scope takes this process, the limits are set, and then the
 * process becomes the command, so status and signals need no passing.  With --service
 * systemd starts the command (service.c).  Without systemd: a cgroup that we make, a
 * child in it, and signals passed on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "run.h"

enum { O_SLICE = 256, O_UNIT, O_CGROUP, O_SERVICE, O_NO_WAIT };
static const struct option_row options[] = {
	{ "service", O_SERVICE, NULL, "by systemd, in a clean environment; not a scope" },
	{ "no-wait", O_NO_WAIT, NULL, "of a service: end when it runs, and print its name" },
	{ "slice", O_SLICE, "SLICE", "put the unit there" },
	{ "unit", O_UNIT, "NAME", "call the unit so" },
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

/* --- units of systemd -------------------------------------------------------------- */

int open_manager(sd_bus **bus)
{
	int r = geteuid() ? sd_bus_open_user(bus) : sd_bus_open_system(bus);

	return r < 0 ? r : sd_bus_set_method_call_timeout(*bus, BUS_TIMEOUT_USEC);
}

char *unit_name(const char *name, const char *suffix)
{
	char *unit;

	if ((name ? asprintf(&unit, "%s%s", name, is_unit_name(name) ? "" : suffix) :
	     asprintf(&unit, "cramcg-run-%d%s", getpid(), suffix)) < 0)
		return NULL;
	return unit;
}

int new_unit_message(sd_bus *bus, const char *name, const struct run *run, sd_bus_message **m)
{
	int r;

	r = sd_bus_message_new_method_call(bus, m, "org.freedesktop.systemd1",
					   "/org/freedesktop/systemd1",
					   "org.freedesktop.systemd1.Manager", "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(*m, "ss", name, "fail");
	if (r >= 0)
		r = sd_bus_message_open_container(*m, 'a', "(sv)");
	if (r >= 0)
		r = sd_bus_message_append(*m, "(sv)(sv)", "Description", "s", "cramcg run",
					  "CollectMode", "s", "inactive-or-failed");
	if (r >= 0 && run->slice)
		r = sd_bus_message_append(*m, "(sv)", "Slice", "s", run->slice);
	return r;
}

int send_unit_message(sd_bus *bus, sd_bus_message *m, sd_bus_error *error)
{
	int r = sd_bus_message_close_container(m);

	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	return r < 0 ? r : sd_bus_call(bus, m, 0, error, NULL);
}

static int start_scope(sd_bus *bus, const char *name, const struct run *run, sd_bus_error *error)
{
	sd_bus_message *m = NULL;
	int r = new_unit_message(bus, name, run, &m);

	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)", "PIDs", "au", 1, (uint32_t)getpid(),
					  "Delegate", "b", 0);
	if (r >= 0)
		r = send_unit_message(bus, m, error);
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

static int in_scope(struct cramcg *ctx, const struct run *run)
{
	_cleanup_free_ char *path = NULL, *name = unit_name(run->unit, ".scope");
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus *bus = NULL;
	int r, status;

	if (!name)
		return report(STATUS_FAILED, "out of memory");
	r = open_manager(&bus);
	if (r >= 0)
		r = start_scope(bus, name, run, &error);
	status = r < 0 ? report(STATUS_FAILED, "%s: systemd does not start it: %s", name,
				error.message ? error.message : strerror(-r)) : 0;
	sd_bus_error_free(&error);
	sd_bus_flush_close_unref(bus);
	if (!status)
		status = wait_for_scope(ctx, name, &path);
	if (!status)
		status = set_limits(ctx, path, run->settings, run->n);
	return status ? status : become(run->command);
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

static int in_cgroup(struct cramcg *ctx, const char *path, const struct run *run)
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
		status = set_limits(ctx, checked, run->settings, run->n);
	if (!status)
		status = spawn(dir, run->command);
	/* Not empty if the command left something running, or in a recorded tree */
	rmdir(dir);
	return status;
}

/* Malformed values are found before anything is started */
static int check(struct cramcg *ctx, const struct run *run)
{
	for (int i = 0; i < run->n; i++) {
		_cleanup_free_ char *text = NULL;
		int err = cramcg_canonical(ctx, &run->settings[i], &text);

		if (err)
			return report_error(ctx, err);
	}
	return 0;
}

/* KEY=VALUE... -- COMMAND...; cuts argv at the "--" */
static int split_command(char **argv, bool dashes, struct run *run)
{
	int n = 0;

	/* getopt has eaten the "--" when no limit came before it */
	if (!dashes)
		while (argv[n] && strcmp(argv[n], "--"))
			n++;
	if (argv[n] && !strcmp(argv[n], "--") && argv[n + 1])
		argv[n++] = NULL;
	else if (!argv[n] || n)
		return report(STATUS_USAGE, "a command comes after --; see cramcg run --help");
	run->command = argv + n;
	run->n = n ? n - 1 : 0;
	return split_settings(run->n, argv, run->settings) ? 0 : STATUS_USAGE;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	_cleanup_free_ struct cramcg_setting *settings = calloc(argc, sizeof(*settings));
	struct run run = { .settings = settings };
	const char *cgroup = NULL;
	int c, status;

	while ((c = next_option(&verb_run, argc, argv)) != -1) {
		switch (c) {
		case O_SLICE: run.slice = optarg; break;
		case O_UNIT: run.unit = optarg; break;
		case O_CGROUP: cgroup = optarg; break;
		case O_SERVICE: run.service = true; break;
		case O_NO_WAIT: run.no_wait = true; break;
		}
	}
	if (cgroup && (run.slice || run.unit || run.service))
		return report(STATUS_USAGE, "--cgroup is without systemd: --service, --slice and --unit exclude it");
	if (run.no_wait && !run.service)
		return report(STATUS_USAGE, "--no-wait is for --service");
	if (!settings)
		return report(STATUS_FAILED, "out of memory");
	status = split_command(argv + optind, optind && !strcmp(argv[optind - 1], "--"), &run);
	if (!status)
		status = check(ctx, &run);
	if (status)
		return status;
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	if (cgroup)
		return in_cgroup(ctx, cgroup, &run);
	if (access("/run/systemd/system", F_OK))
		return report(STATUS_MISSING, "systemd does not run here: say --cgroup PATH");
	return run.service ? in_service(&run) : in_scope(ctx, &run);
}

const struct verb verb_run = {
	.name = "run", .args = "[KEY=VALUE...] -- COMMAND...", .summary = "run a command with limits in force from the start",
	.example = "cramcg run max=1G writable_budget=64M -- make -j8",
	.options = options, .completes = "none", .run = run,
};

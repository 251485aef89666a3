// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg run --service: the command as a transient service of systemd, that is a child
 * of systemd with a clean environment.  Limits are set by an ExecStartPre=, as in the
 * drop-ins of "cramcg set": in the cgroup of the service, before the command, and when
 * they cannot be had the command does not start.
 *
 * We stay, pass signals on, and end as the command does.  The unit cannot be forgotten
 * before we have read how, because we hold a reference (AddRef).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>

#include "run.h"

#define SYSTEMD	"org.freedesktop.systemd1"
#define UNIT	SYSTEMD ".Unit"
#define SERVICE	SYSTEMD ".Service"

struct service {
	sd_bus *bus;
	sd_event *event;
	const char *name;
	char *object;
	bool no_wait;
};

/* --- what is started ----------------------------------------------------------------- */

/* A service has a search path of its own: the command is looked for in ours */
static char *find_command(const char *name)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return realpath(name, NULL);
	while (path && *path) {
		size_t len = strcspn(path, ":");
		_cleanup_free_ char *file = NULL;

		if (asprintf(&file, "%.*s/%s", (int)len, path, name) < 0) {
			file = NULL;
			return NULL;
		}
		if (len && !access(file, X_OK))
			return realpath(file, NULL);
		path += len + (path[len] == ':');
	}
	errno = ENOENT;
	return NULL;
}

/* One command of ExecStart= or ExecStartPre=; what looks like $VARIABLE is left alone */
static int append_command(sd_bus_message *m, const char *key, const char *file, char **argv)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "a(sasas)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sasas)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'r', "sasas");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", file);
	if (r >= 0)
		r = sd_bus_message_append_strv(m, argv);
	if (r >= 0)
		r = sd_bus_message_append(m, "as", 1, "no-env-expand");
	for (int i = 0; i < 4 && r >= 0; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

/* cramcg set --enable --now self KEY=VALUE..., by this very program */
static int append_limits(sd_bus_message *m, const struct run *run)
{
	_cleanup_free_ char *self = realpath("/proc/self/exe", NULL);
	char **argv = calloc(run->n + 6, sizeof(*argv));
	int at = 0, r = 0;

	if (!self || !argv) {
		free(argv);
		return -ENOMEM;
	}
	argv[at++] = self;
	argv[at++] = (char *)"set";
	argv[at++] = (char *)"--enable";
	argv[at++] = (char *)"--now";
	argv[at++] = (char *)"self";
	for (int i = 0; i < run->n && r >= 0; i++, at++)
		if (asprintf(&argv[at], "%s=%s", run->settings[i].key, run->settings[i].value) < 0)
			r = -ENOMEM;
	if (r >= 0)
		r = append_command(m, "ExecStartPreEx", self, argv);
	while (at-- > 5)
		free(argv[at]);
	free(argv);
	return r;
}

/* Who waits has the command read and write where we do */
static int append_files(sd_bus_message *m)
{
	return sd_bus_message_append(m, "(sv)(sv)(sv)",
				     "StandardInputFileDescriptor", "h", STDIN_FILENO,
				     "StandardOutputFileDescriptor", "h", STDOUT_FILENO,
				     "StandardErrorFileDescriptor", "h", STDERR_FILENO);
}

static int start(struct service *s, const struct run *run, const char *file, sd_bus_error *error)
{
	_cleanup_free_ char *here = getcwd(NULL, 0);
	sd_bus_message *m = NULL;
	int r = here ? new_unit_message(s->bus, s->name, run, &m) : -errno;

	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)", "Type", "s", "exec", "AddRef", "b", 1,
					  "WorkingDirectory", "s", here);
	if (r >= 0 && !run->no_wait)
		r = append_files(m);
	if (r >= 0 && run->n)
		r = append_limits(m, run);
	if (r >= 0)
		r = append_command(m, "ExecStartEx", file, run->command);
	if (r >= 0)
		r = send_unit_message(s->bus, m, error);
	sd_bus_message_unref(m);
	return r;
}

/* --- how it ends ----------------------------------------------------------------------- */

/* The main process as a shell would have it; it never was one when limits failed */
static int status_of_service(struct service *s)
{
	int32_t code = 0, status = 0;
	int r;

	r = sd_bus_get_property_trivial(s->bus, SYSTEMD, s->object, SERVICE, "ExecMainCode", NULL, 'i', &code);
	if (r >= 0)
		r = sd_bus_get_property_trivial(s->bus, SYSTEMD, s->object, SERVICE, "ExecMainStatus", NULL, 'i', &status);
	if (r < 0)
		return report(STATUS_FAILED, "%s: systemd does not say how it ended: %s", s->name, strerror(-r));
	if (!code)
		return report(STATUS_FAILED, "%s: the command was not started: see journalctl -u %s",
			      s->name, s->name);
	return code == CLD_EXITED ? status : 128 + status;
}

/* Ends the loop when the service has ended, or runs and nobody waits */
static int look(struct service *s)
{
	_cleanup_free_ char *state = NULL;
	sd_bus_message *m = NULL;
	uint32_t job = 0;
	int r;

	r = sd_bus_get_property(s->bus, SYSTEMD, s->object, UNIT, "Job", NULL, &m, "(uo)");
	if (r >= 0)
		r = sd_bus_message_read(m, "(uo)", &job, NULL);
	sd_bus_message_unref(m);
	if (r >= 0)
		r = sd_bus_get_property_string(s->bus, SYSTEMD, s->object, UNIT, "ActiveState", NULL, &state);
	if (r < 0)
		return sd_event_exit(s->event, report(STATUS_FAILED, "%s: systemd does not say what it does: %s",
						      s->name, strerror(-r)));
	if (job)
		return 0;
	if (s->no_wait && !strcmp(state, "active")) {
		puts(s->name);
		return sd_event_exit(s->event, STATUS_OK);
	}
	if (!strcmp(state, "inactive") || !strcmp(state, "failed"))
		return sd_event_exit(s->event, status_of_service(s));
	return 0;
}

static int on_change(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	(void)m, (void)error;
	return look(arg);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct service *s = arg;

	(void)source;
	/* Fails when there is no process at this moment: then there is nothing to tell */
	sd_bus_call_method(s->bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
			   "KillUnit", NULL, NULL, "ssi", s->name, "main", (int)info->ssi_signo);
	return 0;
}

static int pass_signals(struct service *s)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals) && r >= 0; i++)
		r = sd_event_add_signal(s->event, NULL, signals[i], on_signal, s);
	return r;
}

/* All that tells us is in place before the start, so that no change is missed */
static int prepare(struct service *s)
{
	int r = open_manager(&s->bus);

	if (r >= 0)
		r = sd_event_default(&s->event);
	if (r >= 0)
		r = sd_bus_attach_event(s->bus, s->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", s->name, &s->object);
	if (r >= 0)
		r = sd_bus_call_method(s->bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
				       "Subscribe", NULL, NULL, NULL);
	if (r >= 0)
		r = sd_bus_match_signal(s->bus, NULL, SYSTEMD, s->object,
					"org.freedesktop.DBus.Properties", "PropertiesChanged", on_change, s);
	return r;
}

int in_service(const struct run *run)
{
	_cleanup_free_ char *name = unit_name(run->unit, ".service"), *file = find_command(run->command[0]);
	struct service s = { .name = name, .no_wait = run->no_wait };
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r, status;

	if (!name)
		return report(STATUS_FAILED, "out of memory");
	if (!file)
		return report(errno == ENOENT ? 127 : 126, "%s: %s", run->command[0], strerror(errno));
	r = prepare(&s);
	if (r >= 0)
		r = start(&s, run, file, &error);
	if (r >= 0)
		r = pass_signals(&s);
	if (r >= 0)
		r = look(&s);
	if (r >= 0)
		status = sd_event_loop(s.event);
	else
		status = report(STATUS_FAILED, "%s: systemd does not start it: %s", name,
				error.message ? error.message : strerror(-r));
	if (status < 0)
		status = report(STATUS_FAILED, "%s: %s", name, strerror(-status));
	sd_bus_error_free(&error);
	sd_bus_flush_close_unref(s.bus);
	sd_event_unref(s.event);
	free(s.object);
	return status;
}

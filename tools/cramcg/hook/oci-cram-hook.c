// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * oci-cram-hook: settings of the cram controller for a container, from annotations.
 *
 * A createRuntime hook of the OCI runtime specification.  The runtime gives it the state
 * of the container on stdin; org.cram.max and its like in the annotations become values
 * of the cgroup that the container's process is in.  All are in force when it returns,
 * or none is and the container does not start: a limit that somebody asked for and that
 * is silently missing is worse than a container that is missing.
 *
 * What it reads was written by people: annotations of pods pass through a runtime as
 * they are.  So nothing is written, and cram is enabled nowhere, before every annotation
 * was understood.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <libcramcg.h>

#define PREFIX_KEY	"org.cram."

/* More than any state or config.json has; a hook must not be fed until memory is out */
#define JSON_SIZE_MAX	(4 << 20)

/* A container with more settings than this is not configured, it is attacking */
#define SETTINGS_MAX	1024

struct settings {
	struct cramcg_setting list[SETTINGS_MAX];
	char *owned[SETTINGS_MAX];
	size_t n;
};

static void free_settings(struct settings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->owned[i]);
}

static bool to_log;

/*
 * One line on stderr, and in the log of the machine, because crun drops what hooks say;
 * text of others made printable
 */
__attribute__((format(printf, 1, 2)))
static int say(const char *format, ...)
{
	char *line = NULL, *clean = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&line, format, args) < 0)
		line = NULL;
	va_end(args);
	if (line)
		clean = cramcg_printable(line);
	fprintf(stderr, "oci-cram-hook: %s\n", clean ? clean : "out of memory");
	if (to_log)
		syslog(LOG_DAEMON | LOG_ERR, "%s", clean ? clean : "out of memory");
	free(clean);
	free(line);
	return -1;
}

/* --- reading ------------------------------------------------------------------------ */

/* All of fd as text; NULL when it was said why not */
static char *read_all(int fd, const char *what, size_t *len)
{
	size_t room = 16 << 10;
	char *text = malloc(room);

	*len = 0;
	while (text) {
		ssize_t got = read(fd, text + *len, room - *len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			say("%s: %s", what, strerror(errno));
			break;
		}
		if (!got)
			return text;
		*len += got;
		if (*len > JSON_SIZE_MAX) {
			say("%s: more than %d bytes", what, JSON_SIZE_MAX);
			break;
		}
		if (*len == room) {
			char *more = realloc(text, room *= 2);

			if (!more) {
				say("out of memory");
				break;
			}
			text = more;
		}
	}
	if (!text)
		say("out of memory");
	free(text);
	return NULL;
}

/* The JSON object in fd; a key that is there twice, or a NUL in a text, is a fault */
static json_t *read_object(int fd, const char *what)
{
	json_error_t error;
	json_t *json;
	size_t len;
	char *text = read_all(fd, what, &len);

	if (!text)
		return NULL;
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	free(text);
	if (!json) {
		say("%s: not JSON: line %d: %s", what, error.line, error.text);
		return NULL;
	}
	if (json_is_object(json))
		return json;
	say("%s: not a JSON object", what);
	json_decref(json);
	return NULL;
}

/*
 * config.json of a bundle.  The hook runs with the rights of the runtime, so it does not
 * follow a link that the owner of a bundle can point anywhere, nor open a pipe.
 */
static json_t *read_config(const char *bundle)
{
	int dir = -1, fd = -1;
	json_t *json = NULL;
	struct stat st;

	if (*bundle != '/') {
		say("bundle: \"%s\" is not an absolute path", bundle);
		return NULL;
	}
	dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		fd = openat(dir, "config.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		say("%s%s: %s", bundle, dir < 0 ? "" : "/config.json",
		    dir >= 0 && errno == ELOOP ? "is a symbolic link" : strerror(errno));
	else if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		say("%s/config.json: not a file", bundle);
	else
		json = read_object(fd, "config.json");
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return json;
}

/*
 * The annotations: those of the state, else those of config.json; a state may leave them
 * out.  0 and NULL: there are none.  The caller gives back *annotations.
 */
static int find_annotations(json_t *state, json_t **annotations)
{
	json_t *found = json_object_get(state, "annotations");

	*annotations = NULL;
	if (!found || json_is_null(found)) {
		const char *bundle = json_string_value(json_object_get(state, "bundle"));
		json_t *config;

		if (!bundle)
			return say("state: neither annotations nor a bundle");
		config = read_config(bundle);
		if (!config)
			return -1;
		found = json_incref(json_object_get(config, "annotations"));
		json_decref(config);
	} else {
		json_incref(found);
	}
	if (found && !json_is_object(found) && !json_is_null(found)) {
		json_decref(found);
		return say("annotations: not a JSON object");
	}
	*annotations = found;
	return 0;
}

/* --- understanding -------------------------------------------------------------------- */

/* "node_max" -> "node.max".  Kubernetes and OCI know dots as parts of the prefix only. */
static const char *setting_of(const char *word)
{
	const char *name;

	for (size_t i = 0; (name = cramcg_setting_name('c', i, NULL)); i++) {
		size_t k = 0;

		while (name[k] && word[k] == (name[k] == '.' ? '_' : name[k]))
			k++;
		if (!name[k] && !word[k])
			return name;
	}
	return NULL;
}

static int say_unknown(const char *key)
{
	char known[512] = "";
	const char *name;
	size_t len = 0;

	for (size_t i = 0; (name = cramcg_setting_name('c', i, NULL)); i++) {
		if (len + strlen(name) + sizeof(", " PREFIX_KEY) > sizeof(known))
			break;
		len += sprintf(known + len, "%s" PREFIX_KEY, len ? ", " : "");
		for (; *name; name++)
			known[len++] = *name == '.' ? '_' : *name;
		known[len] = '\0';
	}
	return say("%s: there is no such setting; there are %s", key, known);
}

/* A setting that the library understands; text becomes the list's, whatever comes of it */
static int add(struct cramcg *ctx, struct settings *s, const char *key, const char *name, char *text)
{
	struct cramcg_setting setting = { .key = name, .value = text };
	char *canonical = NULL;

	if (!text)
		return say("out of memory");
	if (s->n == SETTINGS_MAX) {
		free(text);
		return say("%s: more than %d settings", key, SETTINGS_MAX);
	}
	s->owned[s->n] = text;
	s->list[s->n++] = setting;
	if (cramcg_canonical(ctx, &setting, &canonical))
		return say("%s: %s", key, cramcg_error(ctx));
	free(canonical);
	return 0;
}

/* "N1:64M N2:1G", also with commas: one setting for each node */
static int add_nodes(struct cramcg *ctx, struct settings *s, const char *key, const char *name,
		     const char *value)
{
	const char *p = value;
	size_t len;

	for (p += strspn(p, " ,"); *p; p += len, p += strspn(p, " ,")) {
		len = strcspn(p, " ,");
		if (add(ctx, s, key, name, strndup(p, len)))
			return -1;
	}
	/* Nothing to say for no node is no setting, and not what somebody meant */
	return p == value || !value[strspn(value, " ,")] ?
		say("%s: \"%s\": it takes nodes and their limits, such as N1:64M N2:max", key, value) : 0;
}

static int understand(struct cramcg *ctx, struct settings *s, const char *key, json_t *value)
{
	const char *name = setting_of(key + strlen(PREFIX_KEY));
	const char *text = json_string_value(value);

	if (!name)
		return say_unknown(key);
	if (!text)
		return say("%s: the value is not a string", key);
	if (!strcmp(name, "node.max"))
		return add_nodes(ctx, s, key, name, text);
	return add(ctx, s, key, name, strdup(text));
}

static bool is_node(const int *nodes, size_t n, int node)
{
	for (size_t i = 0; i < n; i++)
		if (nodes[i] == node)
			return true;
	return false;
}

/*
 * Nodes that are none are known before anything is written: the library finds them, too,
 * but only once the files are there, for which cram has to be enabled.
 */
static int check_nodes(const struct settings *s, const int *nodes, size_t n)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct cramcg_setting *one = &s->list[i];
		uint8_t set[CRAMCG_NODES_MAX / 8] = { 0 };

		if (!strcmp(one->key, "node.max")) {
			int node = atoi(one->value + 1);

			set[node / 8] |= 1 << node % 8;
		} else if (strcmp(one->key, "nodes") || cramcg_parse_nodes(one->value, set)) {
			continue;
		}
		for (int node = 0; node < CRAMCG_NODES_MAX; node++)
			if (set[node / 8] & 1 << node % 8 && !is_node(nodes, n, node))
				return say("cram.%s: \"%s\": node %d is not a cram node at this time",
					   one->key, one->value, node);
	}
	return 0;
}

/* All annotations of ours; s->n is 0 when there are none */
static int understand_all(struct cramcg *ctx, struct settings *s, json_t *annotations)
{
	int *nodes = NULL, err;
	const char *key;
	json_t *value;
	size_t n = 0;

	json_object_foreach(annotations, key, value)
		if (!strncmp(key, PREFIX_KEY, strlen(PREFIX_KEY)) && understand(ctx, s, key, value))
			return -1;
	if (!s->n)
		return 0;
	if (cramcg_available(ctx) || cramcg_nodes(ctx, &nodes, &n))
		return say("%s", cramcg_error(ctx));
	err = check_nodes(s, nodes, n);
	free(nodes);
	return err;
}

/* --- doing ---------------------------------------------------------------------------- */

/* The cgroup of the container: that of its first process */
static int find_cgroup(struct cramcg *ctx, json_t *state, char **path)
{
	json_t *pid = json_object_get(state, "pid");
	json_int_t number = json_integer_value(pid);

	if (!json_is_integer(pid) || number <= 0 || number > INT_MAX)
		return say("state: no process (pid): is this a createRuntime hook?");
	if (cramcg_path_of_pid(ctx, number, path))
		return say("%s", cramcg_error(ctx));
	if (!strcmp(*path, "/")) {
		free(*path);
		*path = NULL;
		return say("the container is in the root cgroup, which has no limits");
	}
	return 0;
}

static int apply(struct cramcg *ctx, json_t *state, const struct settings *s)
{
	char *path = NULL;
	int err = find_cgroup(ctx, state, &path);

	if (err)
		return err;
	if (cramcg_enable(ctx, path) || cramcg_set(ctx, path, s->list, s->n))
		err = say("%s", cramcg_error(ctx));
	free(path);
	return err;
}

static int run(struct cramcg *ctx, json_t *state)
{
	struct settings s = { .n = 0 };
	json_t *annotations;
	int err = find_annotations(state, &annotations);

	if (err)
		return err;
	err = understand_all(ctx, &s, annotations);
	if (!err && s.n)
		err = apply(ctx, state, &s);
	free_settings(&s);
	json_decref(annotations);
	return err;
}

static int usage(FILE *to)
{
	fprintf(to, "usage: oci-cram-hook < state.json\n"
		"\n"
		"A createRuntime hook: sets what the annotations " PREFIX_KEY "max, " PREFIX_KEY "low,\n"
		"" PREFIX_KEY "writable_budget, " PREFIX_KEY "nodes, " PREFIX_KEY "node_max and " PREFIX_KEY "page_max say\n"
		"for the cgroup of a container, all or nothing.  See oci-cram-hook(8).\n");
	return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	struct cramcg *ctx;
	json_t *state;
	int err;

	if (argc > 1)
		return usage(!strcmp(argv[1], "--help") ? stdout : stderr);
	if (cramcg_new(&ctx, NULL)) {
		say("out of memory");
		return 1;
	}
	/* A recorded tree is no machine, and has no log */
	to_log = !*cramcg_root(ctx);
	openlog("oci-cram-hook", LOG_PID, LOG_DAEMON);
	state = read_object(STDIN_FILENO, "state");
	err = state ? run(ctx, state) : -1;
	json_decref(state);
	cramcg_free(ctx);
	return err ? 1 : 0;
}

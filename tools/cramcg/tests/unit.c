// SPDX-License-Identifier: GPL-2.0-or-later
/* Parsers and formatters, by cmocka. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

#include "../src/cramcg.h"
#include "../src/dropin.h"
#include "../src/pageout.h"
#include "../src/record.h"
#include "../src/unit-file.h"

static struct cramcg *ctx;

static void sizes_are_parsed(void **state)
{
	static const struct { const char *text; uint64_t value; } good[] = {
		{ "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "64K", 65536 }, { "64k", 65536 },
		{ "1M", 1 << 20 }, { "3G", 3ULL << 30 }, { "2T", 2ULL << 40 }, { "max", CRAMCG_MAX },
		{ "inherit", CRAMCG_INHERIT }, { "auto", CRAMCG_AUTO }, { "00010", 10 },
	};
	static const char *const bad[] = {
		"", " ", "-1", "+1", "1 ", " 1", "0x10", "1KB", "1Ki", "1.5G", "M", "Max", "maxx", "1P",
		"18446744073709551615", "18446744073709551616", "99999999999999999999", "16777216T", "1\n",
	};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(cramcg_parse_size(good[i].text, &value), 0);
		assert_true(value == good[i].value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!cramcg_parse_size(bad[i], &value))
			fail_msg("\"%s\" was taken for a size", bad[i]);
}

static void node_lists_are_parsed(void **state)
{
	static const char *const bad[] = { "a", "1,", ",1", "1,,2", "3-1", "1-", "1024", "-1", "1 2", "1;2" };
	uint8_t set[CRAMCG_NODES_MAX / 8];

	(void)state;
	assert_int_equal(cramcg_parse_nodes("", set), 0);
	assert_int_equal(set[0], 0);
	assert_int_equal(cramcg_parse_nodes("1,3-4,1023", set), 0);
	assert_int_equal(set[0], 1 << 1 | 1 << 3 | 1 << 4);
	assert_int_equal(set[127], 1 << 7);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!cramcg_parse_nodes(bad[i], set))
			fail_msg("\"%s\" was taken for a list", bad[i]);
}

struct seen { int n; uint64_t sum; char keys[64]; };

static void see_key(const char *key, size_t len, uint64_t value, void *arg)
{
	struct seen *s = arg;

	s->n++;
	s->sum += value;
	strncat(s->keys, key, len);
}

static void see_node(int node, uint64_t value, void *arg)
{
	struct seen *s = arg;

	s->n += node;
	s->sum += value;
}

static void keyed_files_are_parsed(void **state)
{
	struct seen s = { 0 };

	(void)state;
	cramcg_parse_keyed("a 1\nbroken\nb 2\nc -3\nd 4 5\ne 99999999999999999999\nf 6", see_key, &s);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.sum, 9);
	assert_string_equal(s.keys, "abf");
	memset(&s, 0, sizeof(s));
	cramcg_parse_numa("other N1=7\nresident N1=4096 N3=8\n", "resident", see_node, &s);
	assert_int_equal(s.n, 4);
	assert_int_equal(s.sum, 4104);
	memset(&s, 0, sizeof(s));
	cramcg_parse_numa("resident N1=1 N99999=2 N2=4", "resident", see_node, &s);
	assert_int_equal(s.n, 1);
	cramcg_parse_numa("", "resident", see_node, &s);
	cramcg_parse_numa("resident", "resident", see_node, &s);
	cramcg_parse_numa("resident N", "resident", see_node, &s);
	assert_int_equal(s.n, 1);
}

static void values_become_what_the_kernel_reads_back(void **state)
{
	static const struct { const char *key, *value, *text; } rows[] = {
		{ "max", "64M", "67108864" }, { "cram.max", "max", "max" }, { "max", "4097", "4096" },
		{ "max", "0", "0" }, { "low", "1G", "1073741824" }, { "writable_budget", "inherit", "inherit" },
		{ "nodes", "", "" }, { "nodes", "4,3,1", "1,3-4" }, { "nodes", "none", "none" },
		{ "node.max", "N1:64M", "N1 67108864" }, { "node.max", "N2 max", "N2 max" },
		{ "page.max", "3000", "3000" }, { "compressed.max", "8K", "8192" },
	};
	static const struct { const char *key, *value; } bad[] = {
		{ "max", "64" }, { "max", "inherit" }, { "max", "auto" }, { "max", "" }, { "max", "-1" },
		{ "low", "4095" }, { "writable_budget", "auto" }, { "nodes", "1,x" }, { "nodes", "max" },
		{ "node.max", "64M" }, { "node.max", "N1" }, { "node.max", "N1:" }, { "node.max", "N2000:1M" },
		{ "maxi", "64M" }, { "", "64M" }, { "current", "64M" }, { "cram.cram.max", "64M" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cramcg_setting s = { rows[i].key, rows[i].value };
		char *text;

		assert_int_equal(cramcg_canonical(ctx, &s, &text), 0);
		assert_string_equal(text, rows[i].text);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cramcg_setting s = { bad[i].key, bad[i].value };
		char *text;

		if (cramcg_canonical(ctx, &s, &text) != -EINVAL)
			fail_msg("%s=%s was taken", bad[i].key, bad[i].value);
		assert_non_null(strstr(cramcg_error(ctx), *bad[i].key ? bad[i].key : "no such"));
	}
}

static void names_are_made_harmless(void **state)
{
	static const struct { const char *name, *safe; } rows[] = {
		{ "/plain", "/plain" }, { "/a b", "/a b" }, { "/\033[31m", "/\\x1b[31m" }, { "/\n", "/\\x0a" },
		{ "/\xff", "/\\xff" }, { "/a\\x2db", "/a\\x2db" }, { "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *safe = cramcg_printable(rows[i].name);

		assert_string_equal(safe, rows[i].safe);
		free(safe);
	}
}

static void utf8_depends_on_the_locale(void **state)
{
	char *safe;

	(void)state;
	setlocale(LC_ALL, "C.UTF-8");
	safe = cramcg_printable("/h\xc3\xb6he\xc2\x9b");
	assert_string_equal(safe, "/h\xc3\xb6he\\xc2\\x9b");
	free(safe);
	setlocale(LC_ALL, "C");
	safe = cramcg_printable("/h\xc3\xb6he");
	assert_string_equal(safe, "/h\\xc3\\xb6he");
	free(safe);
}

struct read { int n; char text[256]; };

static int read_one(int object, const char *name, const struct cramcg_setting *s, int line, void *arg)
{
	struct read *r = arg;
	char buf[128];

	r->n++;
	snprintf(buf, sizeof(buf), "%c%s:%s=%s@%d;", object, name, s->key, s->value, line);
	strncat(r->text, buf, sizeof(r->text) - strlen(r->text) - 1);
	return 0;
}

static void settings_files_are_parsed(void **state)
{
	static const char good[] =
		"# a comment\n\n[cgroup /a\\x0ab]\n max = 64M \nlow=0\n[node 1]\nreserve_bytes = 1M\n[machine]\nenabled=1";
	static const char *const bad[] = {
		"max=1M\n", "[cgroup a]\n", "[cgroup /a\n", "[node x]\n", "[node ]\n", "[machine 1]\n", "[other /a]\n",
		"[cgroup /a]\nmax\n", "[cgroup /a]\nmax=12\n", "[cgroup /a]\nmaxx=1M\n", "[cgroup /a\\x00]\n",
		"[cgroup /a\\y]\n", "[node 1]\nmax=1M\n", "[machine]\nenabled=2\n", "[\n",
	};
	struct read r = { 0 };

	(void)state;
	assert_int_equal(cramcg_conf_parse(ctx, "x", good, strlen(good), read_one, &r), 0);
	assert_string_equal(r.text, "c/a\nb:max=64M@4;c/a\nb:low=0@5;n1:reserve_bytes=1M@7;m:enabled=1@9;");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		r = (struct read) { 0 };
		if (cramcg_conf_parse(ctx, "x", bad[i], strlen(bad[i]), read_one, &r) != -EINVAL || r.n)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_int_equal(strncmp(cramcg_error(ctx), "x:", 2), 0);
	}
	assert_int_equal(cramcg_conf_parse(ctx, "x", "[cgroup /a]\0\n", 13, read_one, &r), -EINVAL);
}

static void quoting_survives_a_file(void **state)
{
	static const char *const names[] = { "/a", "/a b ", "/\n\033\xff\\", "/\\x41", "/]" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *quoted = cramcg_conf_quote(names[i]), file[256], want[256];
		struct read r = { 0 };

		snprintf(file, sizeof(file), "[cgroup %s]\nmax=max\n", quoted);
		snprintf(want, sizeof(want), "c%s:max=max@2;", names[i]);
		assert_int_equal(cramcg_conf_parse(ctx, "x", file, strlen(file), read_one, &r), 0);
		assert_string_equal(r.text, want);
		free(quoted);
	}
}

static void sizes_are_printed(void **state)
{
	static const struct { uint64_t bytes; bool human; const char *text; } rows[] = {
		{ 0, true, "0" }, { 1023, true, "1023B" }, { 1024, true, "1K" }, { 1536, true, "1.5K" },
		{ 1048575, true, "1M" }, { 1048576, true, "1M" }, { 134217728, true, "128M" },
		{ 1610612736, true, "1.5G" }, { 1610612736, false, "1610612736" },
		{ CRAMCG_MAX, true, "max" }, { CRAMCG_INHERIT, false, "inherit" }, { UNKNOWN, true, "-" },
	};
	char buf[SIZE_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(size_text(buf, rows[i].bytes, rows[i].human), rows[i].text);
}

static void durations_are_parsed(void **state)
{
	static const char *const bad[] = { "", "0", "-1", "1x", "m", "1ms", "1e9", "nan", "1h1", "99999h" };
	double s;

	(void)state;
	assert_true(parse_duration("10", &s) && s == 10);
	assert_true(parse_duration("1.5s", &s) && s == 1.5);
	assert_true(parse_duration("10m", &s) && s == 600);
	assert_true(parse_duration("2h", &s) && s == 7200);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_duration(bad[i], &s))
			fail_msg("\"%s\" was taken for a duration", bad[i]);
}

static void budgets_bind_down_the_tree(void **state)
{
	(void)state;
	assert_true(budget_below(UNKNOWN, CRAMCG_INHERIT) == UNKNOWN);
	assert_true(budget_below(100, CRAMCG_INHERIT) == 100);
	assert_true(budget_below(100, 50) == 50);
	assert_true(budget_below(100, 200) == 100);
	assert_true(budget_below(UNKNOWN, CRAMCG_MAX) == CRAMCG_MAX);
	assert_true(budget_below(CRAMCG_MAX, 7) == 7);
}

static void drop_ins_keep_what_they_have(void **state)
{
	struct cramcg_setting first[] = { { "cram.max", "64M" }, { "node.max", "N1 1M" } };
	struct cramcg_setting second[] = { { "max", "1G" }, { "node.max", "N2:2M" }, { "low", "4K" } };
	char *a = dropin_merge(NULL, first, 2), *b = dropin_merge(a, second, 3);
	char *c = dropin_merge(b, first + 1, 1);

	(void)state;
	assert_non_null(strstr(a, "set --enable --now self max=64M node.max=N1:1M\n"));
	assert_non_null(strstr(b, "self node.max=N1:1M max=1G node.max=N2:2M low=4K\n"));
	assert_non_null(strstr(c, "self max=1G node.max=N2:2M low=4K node.max=N1:1M\n"));
	free(a);
	free(b);
	free(c);
}

static void looks_are_remembered(void **state)
{
	static const char good[] = "7 1 2 3 4 5 6 7 8 9 /b\n8 0 0 0 0 0 0 0 0 0 /a b\n";
	static const char *const bad[] = { "x", "7 1 2 /b\n", "7 1 2 3 4 5 6 7 8 9 b\n", "7 1 2 3 4 5 6 7 8 9 /b\n\n" };
	struct look *l = look_new();

	(void)state;
	assert_int_equal(look_parse(l, good, strlen(good)), 0);
	assert_int_equal(look_find(l, 7, "/b")[8], 9);
	assert_non_null(look_find(l, 8, "/a b"));
	assert_null(look_find(l, 9, "/b"));	/* made anew */
	assert_null(look_find(l, 7, "/c"));
	look_free(l);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		l = look_new();
		if (!look_parse(l, bad[i], strlen(bad[i])))
			fail_msg("\"%s\" was taken", bad[i]);
		look_free(l);
	}
}

/* --- properties in unit files ------------------------------------------------------------ */

struct faults { int faults, ignored; char last[256]; };

static void see_fault(const char *message, bool fault, void *arg)
{
	struct faults *f = arg;

	f->faults += fault;
	f->ignored += !fault;
	snprintf(f->last, sizeof(f->last), "%s", message);
}

static void parse_unit(struct unit_settings *u, const char *text, struct faults *f)
{
	if (unit_settings_parse(ctx, u, "Service", "a.service", text, strlen(text), see_fault, f))
		fail_msg("out of memory");
}

/* All that is set, as "key=value key=value" */
static const char *settings_of(const char *text, struct faults *f)
{
	static char all[512];
	struct unit_settings u = { 0 };

	*f = (struct faults) { 0 };
	parse_unit(&u, text, f);
	all[0] = '\0';
	for (size_t i = 0; i < u.n; i++)
		sprintf(all + strlen(all), "%s%s=%s", i ? " " : "", u.list[i].s.key, u.list[i].s.value);
	if (u.require)
		strcat(all, " required");
	unit_settings_free(&u);
	return all;
}

static void properties_are_read_as_systemd_reads(void **state)
{
	static const struct { const char *text, *settings; } cases[] = {
		{ "", "" },
		{ "[Service]\nExecStart=/bin/true X-CRAMMax=1M\n", "" },
		{ "[Service]\nX-CRAMMax=64M\n", "max=67108864" },
		{ "\xef\xbb\xbf[Service]\nX-CRAMMax=64M", "max=67108864" },
		{ "[Service]\r\nX-CRAMMax=64M\r\n", "max=67108864" },
		{ "  [Service]  \n\t X-CRAMMax \t=  64M  \n", "max=67108864" },
		{ "[Service]\nX-CRAMMax=64M\nX-CRAMMax=infinity\n", "max=max" },
		{ "[Service]\nX-CRAMMax=64M\nX-CRAMMax=\n", "" },
		{ "[Service]\nX-CRAMMax=64M\n[Service]\nX-CRAMMax=1M\n", "max=1048576" },
		{ "[Service]\n#X-CRAMMax=64M\n; X-CRAMMax=64M\n", "" },
		{ "[Service]\nX-CRAMMax=\\\n# a comment\n  64M\nX-CRAMLow=1M\n", "max=67108864 low=1048576" },
		{ "[Service]\nExecStart=/bin/echo \\\nX-CRAMMax=64M\n", "" },
		{ "[Service]\nExecStart=/bin/echo \\\\\nX-CRAMMax=64M\n", "max=67108864" },
		{ "[Service]\nExecStart=/bin/echo \\\n\nX-CRAMMax=64M\n", "max=67108864" },
		{ "[Service]\nX-CRAMMax=64M\\", "max=67108864" },
		{ "[Service]\nX-CRAMNodeMax=N1:1M N3:2M\nX-CRAMNodeMax=N1:infinity\n",
		  "node.max=N3 2097152 node.max=N1 max" },
		{ "[Service]\nX-CRAMNodeMax=N1:1M N11:2M\nX-CRAMNodeMax=\nX-CRAMNodeMax=N1:3M\n",
		  "node.max=N1 3145728" },
		{ "[Service]\nX-CRAMNodes=1,3-4\nX-CRAMPageMax=3000\nX-CRAMWritableBudget=inherit\n",
		  "nodes=1,3-4 page.max=3000 writable_budget=inherit" },
		{ "[Service]\nX-CRAMNodes=none\nX-CRAMRequire=yes\n", "nodes=none required" },
		{ "[Service]\nX-CRAMRequire=on\nX-CRAMRequire=0\n", "" },
	};
	struct faults f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(settings_of(cases[i].text, &f), cases[i].settings);
		assert_int_equal(f.faults + f.ignored, 0);
	}
}

static void bad_properties_are_told_with_file_and_line(void **state)
{
	static const struct { const char *text, *message; } cases[] = {
		{ "[Service]\n\nX-CRAMMax=-1\n", "a.service:3: X-CRAMMax=-1: " },
		{ "[Service]\nX-CRAMMax=16777216T\n", "a.service:2: X-CRAMMax=16777216T: " },
		{ "[Service]\nX-CRAMMax=much\n", "a.service:2: X-CRAMMax=much: " },
		{ "[Service]\nX-CRAMMax=64\n", "a.service:2: X-CRAMMax=64: " },
		{ "[Service]\nX-CRAMMax=50%\n", "a.service:2: X-CRAMMax=50%: " },
		{ "[Service]\nX-CRAMNodes=a\n", "a.service:2: X-CRAMNodes=a: " },
		{ "[Service]\nX-CRAMNodes=infinity\n", "a.service:2: X-CRAMNodes=infinity: " },
		{ "[Service]\nX-CRAMNodes=1024\n", "a.service:2: X-CRAMNodes=1024: " },
		{ "[Service]\nX-CRAMNodeMax=64M\n", "a.service:2: X-CRAMNodeMax=64M: " },
		{ "[Service]\nX-CRAMLow=inherit\n", "a.service:2: X-CRAMLow=inherit: " },
		{ "[Service]\nX-CRAMRequire=maybe\n", "a.service:2: X-CRAMRequire=maybe: it takes yes or no" },
		{ "[Service]\nX-CRAMMax\n", "a.service:2: X-CRAMMax: a = is missing" },
		{ "[Unit]\nX-CRAMMax=64M\n", "a.service:2: X-CRAMMax= belongs to the section [Service], and has no effect in [Unit]" },
		{ "X-CRAMMax=64M\n", "a.service:1: X-CRAMMax= belongs to the section [Service], and has no effect in none" },
		{ "[Service]\nX-CRAMMax=\033[31m\n", "a.service:2: X-CRAMMax=\\x1b[31m: " },
		{ "[Service]\nX-CRAMLow=1M \\\n 2M\n", "a.service:2: X-CRAMLow=1M   2M: " },
	};
	struct faults f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(settings_of(cases[i].text, &f), "");
		assert_int_equal(f.faults, 1);
		if (strncmp(f.last, cases[i].message, strlen(cases[i].message)))
			fail_msg("\"%s\" is not \"%s\"", f.last, cases[i].message);
	}
	/* Of a later version: not a reason to have none of the others */
	assert_string_equal(settings_of("[Service]\nX-CRAMFuture=1\nX-CRAMMax=1M\n", &f), "max=1048576");
	assert_int_equal(f.faults, 0);
	assert_int_equal(f.ignored, 1);
}

static void later_files_count(void **state)
{
	struct unit_settings u = { 0 };
	struct faults f = { 0 };

	(void)state;
	parse_unit(&u, "[Service]\nX-CRAMMax=1M\nX-CRAMLow=1M\n", &f);
	parse_unit(&u, "[Service]\nX-CRAMMax=2M\nX-CRAMLow=\n", &f);
	assert_int_equal(u.n, 1);
	assert_string_equal(u.list[0].s.value, "2097152");
	assert_string_equal(u.list[0].file, "a.service");
	assert_int_equal(u.list[0].line, 2);
	unit_settings_free(&u);
	assert_string_equal(unit_section("a@b.service"), "Service");
	assert_string_equal(unit_section("slice"), "Slice");
	assert_null(unit_section("a.socket"));
}

/* --- what is in force ---------------------------------------------------------------------- */

static void put_file(const char *file, const char *text)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void records_are_of_one_cgroup(void **state)
{
	static const char *const bad[] = { "", "\n", "1\n", "x /a\n", "1 /b\nmax\n" };
	char dir[] = "/tmp/cramcg-unit.XXXXXX";
	struct unit_settings u = { 0 };
	struct faults f = { 0 };
	struct cramcg *there;
	struct record r;
	uint64_t id;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("sys", 0755) | mkdir("sys/fs", 0755) | mkdir("sys/fs/cgroup", 0755) |
			 mkdir("sys/fs/cgroup/a b", 0755) | mkdir("records", 0755), 0);
	put_file("sys/fs/cgroup/cgroup.controllers", "");
	setenv("CRAMCG_RECORDS", "records", 1);
	assert_int_equal(cramcg_new(&there, dir), 0);
	parse_unit(&u, "[Service]\nX-CRAMMax=1M\nX-CRAMNodeMax=N1:2M\n", &f);

	assert_int_equal(record_read(there, "u.service", &r), -ENOENT);
	assert_int_equal(cgroup_id(there, "/none"), 0);
	assert_int_equal(record_write(there, "u.service", "/none", &u), -ENOENT);
	/* None of them: a record without settings */
	assert_int_equal(record_write(there, "u.service", "/a b", NULL), 0);
	assert_int_equal(record_read(there, "u.service", &r), 0);
	assert_int_equal(r.n, 0);
	record_free(&r);
	assert_int_equal(record_write(there, "u.service", "/a b", &u), 0);
	/* The same cgroup still has what it had */
	assert_int_equal(record_write(there, "u.service", "/a b", NULL), 0);
	assert_int_equal(record_read(there, "u.service", &r), 0);
	id = r.id;
	assert_int_equal(id, cgroup_id(there, "/a b"));
	assert_string_equal(r.cgroup, "/a b");
	assert_int_equal(r.n, 2);
	assert_string_equal(r.list[1].key, "node.max");
	assert_string_equal(r.list[1].value, "N1 2097152");
	record_free(&r);
	/* A new one of the same path has nothing of it */
	assert_int_equal(rename("sys/fs/cgroup/a b", "sys/fs/cgroup/old") |
			 mkdir("sys/fs/cgroup/a b", 0755), 0);
	assert_int_not_equal(id, cgroup_id(there, "/a b"));
	assert_int_equal(record_read(there, "u.service", &r), -ENOENT);
	assert_int_equal(record_write(there, "u.service", "/a b", NULL), 0);
	assert_int_equal(record_read(there, "u.service", &r), 0);
	assert_int_equal(r.n, 0);
	record_free(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put_file("records/u.service", bad[i]);
		assert_int_not_equal(record_read(there, "u.service", &r), 0);
		assert_int_equal(r.n, 0);
	}
	record_remove("u.service");
	assert_int_equal(access("records/u.service", F_OK), -1);
	/* Nothing is left of what was written, and without the directory nothing is recorded */
	assert_int_equal(rmdir("records"), 0);
	assert_int_equal(record_write(there, "u.service", "/a b", &u), -ENOENT);
	unit_settings_free(&u);
	cramcg_free(there);
	unsetenv("CRAMCG_RECORDS");
	assert_int_equal(unlink("sys/fs/cgroup/cgroup.controllers") | rmdir("sys/fs/cgroup/a b") | rmdir("sys/fs/cgroup/old") | rmdir("sys/fs/cgroup") |
			 rmdir("sys/fs") | rmdir("sys") | chdir("/") | rmdir(dir), 0);
}

/* --- the mappings of a process --------------------------------------------------------- */

static void parse_mappings(const char *text, struct smaps *m)
{
	FILE *f = fmemopen((void *)text, strlen(text), "r");

	assert_int_equal(smaps_parse(f, m), 0);
	fclose(f);
}

static void mappings_are_told_apart(void **state)
{
	static const struct { const char *head, *flags, *why; } cases[] = {
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr", NULL },
		{ "1000-2000 ---p 00000000 00:00 0    [heap]", "mr", NULL },
		{ "7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0    [stack]", "rd wr gd", NULL },
		{ "1000-2000 rw-p 00000000 00:00 0    [anon:lo ht]", "rd wr ac sd", NULL },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr lo", "locked" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "lo rd wr lf", "locked" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd ht", "huge pages" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd io de", "a device" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd pf de", "a device" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd mm", "a device" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd dp", "droppable" },
		{ "1000-2000 rw-s 00000000 00:01 9    /dev/zero (deleted)", "sh", "shared" },
		{ "1000-2000 r--p 00001000 fe:01 4711    /a b\\012c", "rd", "of a file" },
		{ "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]", "ex", "the kernel" },
		{ "1000-2000 r--p 00000000 00:00 0    [vvar]", "rd", "the kernel" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct smaps m;

		assert_true(asprintf(&text, "%s\nRss: 8 kB\nAnonymous: 8 kB\nCram: 4 kB\nReferenced: 4 kB\nSwap: 12 kB\nVmFlags: %s \n",
				     cases[i].head, cases[i].flags) > 0);
		parse_mappings(text, &m);
		assert_int_equal(m.n, 1);
		if (!m.list->left_out != !cases[i].why ||
		    (cases[i].why && !strstr(m.list->left_out, cases[i].why)))
			fail_msg("%s: \"%s\"", text, m.list->left_out ? m.list->left_out : "can be demoted");
		assert_int_equal(m.list->rss, 8192);
		assert_int_equal(m.list->swap, 12288);
		assert_int_equal(mapping_left(m.list), 4096);
		smaps_free(&m);
	}
}

static void what_is_no_mapping_is_left_out(void **state)
{
	static const char *const bad[] = {
		"", "\n", "Rss: 4 kB\n", "1000-1000 rw-p 0 00:00 0\n", "2000-1000 rw-p 0 00:00 0\n",
		"1000-2000 rw 0 00:00 0\n", "1000-2000\n", "Anonymous: 4 kB\n", "x-y rw-p 0 00:00 0\n",
	};
	struct smaps m;

	(void)state;
	for (size_t i = 1; i < ARRAY_SIZE(bad); i++) {
		parse_mappings(bad[i], &m);
		assert_int_equal(m.n, 0);
		smaps_free(&m);
	}
}

static void ranges_are_parsed(void **state)
{
	static const char *const bad[] = {
		"", "-", "1000", "1000-", "-1000", "1000-1000", "2000-1000", "1001-2000", "1000-2001",
		"1000-2000 ", " 1000-2000", "0x1000-0x2000", "1000--2000", "11111111111111000-2", "g-h",
	};
	struct range r;

	(void)state;
	assert_true(parse_range("7f00A000-7F00b000", &r));
	assert_true(r.from == 0x7f00a000 && r.to == 0x7f00b000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_range(bad[i], &r))
			fail_msg("\"%s\" was taken for a range", bad[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_parsed), cmocka_unit_test(node_lists_are_parsed),
		cmocka_unit_test(keyed_files_are_parsed),
		cmocka_unit_test(values_become_what_the_kernel_reads_back),
		cmocka_unit_test(names_are_made_harmless), cmocka_unit_test(utf8_depends_on_the_locale),
		cmocka_unit_test(settings_files_are_parsed), cmocka_unit_test(quoting_survives_a_file),
		cmocka_unit_test(sizes_are_printed), cmocka_unit_test(durations_are_parsed),
		cmocka_unit_test(budgets_bind_down_the_tree), cmocka_unit_test(drop_ins_keep_what_they_have),
		cmocka_unit_test(looks_are_remembered),
		cmocka_unit_test(properties_are_read_as_systemd_reads),
		cmocka_unit_test(bad_properties_are_told_with_file_and_line),
		cmocka_unit_test(later_files_count), cmocka_unit_test(records_are_of_one_cgroup),
		cmocka_unit_test(mappings_are_told_apart), cmocka_unit_test(what_is_no_mapping_is_left_out),
		cmocka_unit_test(ranges_are_parsed),
	};
	int failed;

	if (cramcg_new(&ctx, "/nonexistent"))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	cramcg_free(ctx);
	return failed;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What top shows, as lines of text: the same on a screen and in a file. */
#define _GNU_SOURCE
#include <langinfo.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "top.h"

static bool is_utf8(void)
{
	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

void fit(char *text, int width)
{
	mbstate_t state = { 0 };
	size_t left = strlen(text);
	int used = 0;

	while (left) {
		wchar_t wide;
		size_t len = mbrtowc(&wide, text, left, &state);
		int columns;

		if (!len || len > left)
			break;
		columns = wcwidth(wide);
		if (columns < 0 || used + columns > width)
			break;
		used += columns;
		text += len;
		left -= len;
	}
	*text = '\0';
}

/* One character for each value, by its share of the largest */
static void sparkline(char *out, size_t size, const float *values, int n)
{
	static const char *const utf8[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const ascii[] = { " ", ".", ".", ":", ":", "+", "*", "#", "#" };
	float most = 1;

	*out = '\0';
	for (int i = 0; i < n; i++)
		if (values[i] > most)
			most = values[i];
	for (int i = 0; i < n; i++) {
		int level = values[i] * 8 / most;

		/* Something is not nothing */
		if (!level && values[i] > 0)
			level = 1;
		strncat(out, is_utf8() ? utf8[level] : ascii[level], size - strlen(out) - 1);
	}
}

static const char *rate_text(char buf[SIZE_TEXT], double rate)
{
	if (rate < 0.5)
		return "0";
	if (rate >= 1e6)
		snprintf(buf, SIZE_TEXT, "%.0fk", rate / 1000);
	else
		snprintf(buf, SIZE_TEXT, "%.0f", rate);
	return buf;
}

void top_title(const struct top *t, char *line, int width)
{
	char spark[4 * HISTORY + 1], when[16], d[SIZE_TEXT], p[SIZE_TEXT], r[SIZE_TEXT];
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&now, &tm));
	sparkline(spark, sizeof(spark), t->all.history, HISTORY);
	snprintf(line, TOP_LINE, "%s %zu cgroups  demote/s %s  promote/s %s  refuse/s %s %s", when,
		 t->nr_order, rate_text(d, t->all.demote), rate_text(p, t->all.promote),
		 rate_text(r, t->all.refuse), spark);
	fit(line, width);
}

/* "node 1 open     [||||||||      ] 62M of 256M cells, 2.7 to 1" */
void top_node_line(const struct top_node *node, char *line, int width)
{
	char used[SIZE_TEXT], all[SIZE_TEXT], resident[SIZE_TEXT], bar[128];
	uint64_t cells = node->physical < UNKNOWN && node->free <= node->physical ? node->physical - node->free : 0;
	int size = width / 3 < (int)sizeof(bar) - 3 ? width / 3 : (int)sizeof(bar) - 3;
	int filled = node->physical && node->physical < UNKNOWN ?
		     (int)(size * ((double)cells / node->physical) + 0.5) : 0;
	double ratio = cells && node->used < UNKNOWN ? (double)node->used / cells : 0;
	int len;

	memset(bar, ' ', sizeof(bar));
	*bar = '[';
	memset(bar + 1, '|', filled);
	strcpy(bar + 1 + size, "]");
	len = snprintf(line, TOP_LINE, "node %d %-8s %s %s of %s cells", node->number, node->state, bar,
		       size_text(used, cells, true), size_text(all, node->physical, true));
	snprintf(line + len, TOP_LINE - len, ", %s resident, %.1f to 1",
		 size_text(resident, node->used, true), ratio);
	fit(line, width);
}

/* Wide terminals have more columns, narrow ones shorter ones */
static bool has_writable(int width) { return width >= 104; }
static bool has_history(int width) { return width >= 76; }
static bool is_narrow(int width) { return width < 76; }

void top_header(const struct top *t, char *line, int width)
{
	static const char *const wide[NR_SORTS] = { "RESIDENT", "RATIO", "DEMOTE/s", "PROMOTE/s", "REFUSE/s", "CGROUP" };
	static const char *const narrow[NR_SORTS] = { "RESID", "RATIO", "DEM/s", "PRO/s", "REF/s", "CGROUP" };
	char marked[NR_SORTS][16];
	int len;

	for (int i = 0; i < NR_SORTS; i++)
		snprintf(marked[i], sizeof(marked[i]), "%s%s", is_narrow(width) ? narrow[i] : wide[i],
			 i == (int)t->sort && !t->tree ? (t->reverse ? "^" : "v") : "");
	len = snprintf(line, TOP_LINE, "%*s %5s %6s", is_narrow(width) ? 6 : 9, marked[SORT_RESIDENT],
		       "MAX", marked[SORT_RATIO]);
	if (has_writable(width))
		len += snprintf(line + len, TOP_LINE - len, " %8s %7s", "WRITABLE", "BUDGET");
	len += snprintf(line + len, TOP_LINE - len, is_narrow(width) ? " %6s %6s %6s" : " %9s %10s %9s",
			marked[SORT_DEMOTE], marked[SORT_PROMOTE], marked[SORT_REFUSE]);
	if (has_history(width))
		len += snprintf(line + len, TOP_LINE - len, " %-12s", "HISTORY");
	snprintf(line + len, TOP_LINE - len, " %s", marked[SORT_NAME]);
	fit(line, width);
}

/* Where there is no place for all of a path, its end says more */
static const char *tail(const char *name, int room)
{
	int len = strlen(name);

	if (room < 4 || len <= room)
		return name;
	name += len - room;
	/* Not into the middle of a character */
	while ((*name & 0xc0) == 0x80)
		name++;
	return name;
}

static int put_counts(const struct top_row *row, char *line, int width)
{
	char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT], spark[4 * HISTORY + 1];
	double ratio = sample_ratio(&row->s);
	int len;

	len = snprintf(line, TOP_LINE, "%*s %5s", is_narrow(width) ? 6 : 9,
		       size_text(a, row->s.current, true), size_text(b, row->s.max, true));
	if (ratio > 0)
		len += snprintf(line + len, TOP_LINE - len, " %6.2f", ratio);
	else
		len += snprintf(line + len, TOP_LINE - len, " %6s", "-");
	if (has_writable(width))
		len += snprintf(line + len, TOP_LINE - len, " %8s %7s",
				size_text(a, row->s.writable, true), size_text(b, row->s.budget, true));
	len += snprintf(line + len, TOP_LINE - len, is_narrow(width) ? " %6s %6s %6s" : " %9s %10s %9s",
			rate_text(a, row->rates.demote), rate_text(b, row->rates.promote),
			rate_text(c, row->rates.refuse));
	if (has_history(width)) {
		sparkline(spark, sizeof(spark), row->rates.history + HISTORY - 12, 12);
		len += snprintf(line + len, TOP_LINE - len, " %s", spark);
	}
	return len;
}

void top_row_line(const struct top *t, const struct top_row *row, char *line, int width)
{
	_cleanup_free_ char *name = NULL;
	const char *path = row->path;
	int len = put_counts(row, line, width), indent = 0, room = width - len - 1;

	if (t->tree && row->depth > 1) {
		path = strrchr(path, '/') + 1;
		indent = 2 * (row->depth - 1);
	}
	name = cramcg_printable(path);
	snprintf(line + len, TOP_LINE - len, " %*s%s", indent, "",
		 name ? is_narrow(width) && !t->tree ? tail(name, room) : name : "?");
	fit(line, width);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The content of the demonstration's Redis server: COUNT values of 2 to 16 KiB
 * under the keys that redis-benchmark asks for, as commands for redis-cli --pipe.
 * Four kinds in turn, because real stores are mixed: JSON documents, log lines,
 * tables of counters, and tokens that compress badly. The same on every run.
 *
 * usage: dataset COUNT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES		512	/* of each kind, written once and then copied */
#define LINE_MAX_LEN	256
#define VALUE_MIN	(2 * 1024)
#define VALUE_MAX	(16 * 1024)

enum kind { JSON, LOG, COUNTERS, TOKENS, KINDS };

static char lines[KINDS][LINES][LINE_MAX_LEN];
static size_t lengths[KINDS][LINES];

/* xorshift64*: the same numbers everywhere */
static uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t rnd(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

#define PICK(list) list[rnd() % (sizeof(list) / sizeof(list[0]))]

static void write_json(char *p, size_t *len)
{
	static const char *const city[] = { "Antwerp", "Bergen", "Cork", "Delft" };
	static const char *const stock[] = { "available", "ordered", "sold out" };

	*len = snprintf(p, LINE_MAX_LEN,
		"{\"article\":%u,\"warehouse\":\"%s\",\"state\":\"%s\",\"price\":{\"amount\":%u.%02u,\"currency\":\"EUR\"},\"tags\":[\"spare\",\"metal\"]},",
		(unsigned int)(rnd() % 1000000), PICK(city), PICK(stock),
		(unsigned int)(rnd() % 900), (unsigned int)(rnd() % 100));
}

static void write_log(char *p, size_t *len)
{
	static const char *const page[] = { "/index.html", "/cart", "/login", "/search?q=bolt" };

	*len = snprintf(p, LINE_MAX_LEN,
		"192.0.2.%u - - [07/Nov/2026:11:%02u:%02u +0000] \"GET %s HTTP/1.1\" 200 %u \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n",
		(unsigned int)(rnd() % 256), (unsigned int)(rnd() % 60),
		(unsigned int)(rnd() % 60), PICK(page), (unsigned int)(rnd() % 20000));
}

static void write_counters(char *p, size_t *len)
{
	uint64_t c[8];

	for (int i = 0; i < 8; i++)
		c[i] = rnd() % 5000;
	memcpy(p, c, sizeof(c));
	*len = sizeof(c);
}

static void write_tokens(char *p, size_t *len)
{
	uint64_t t[8];

	for (int i = 0; i < 8; i++)
		t[i] = i < 5 ? rnd() : 0;
	memcpy(p, t, sizeof(t));
	*len = sizeof(t);
}

static void write_lines(void)
{
	static void (*const write[KINDS])(char *, size_t *) = {
		[JSON] = write_json, [LOG] = write_log,
		[COUNTERS] = write_counters, [TOKENS] = write_tokens,
	};

	for (int kind = 0; kind < KINDS; kind++)
		for (int i = 0; i < LINES; i++)
			write[kind](lines[kind][i], &lengths[kind][i]);
}

static size_t fill(char *value, enum kind kind)
{
	size_t want = VALUE_MIN + rnd() % (VALUE_MAX - VALUE_MIN - LINE_MAX_LEN);
	size_t len = 0;

	while (len < want) {
		size_t i = rnd() % LINES;

		memcpy(value + len, lines[kind][i], lengths[kind][i]);
		len += lengths[kind][i];
	}
	return len;
}

int main(int argc, char **argv)
{
	static char value[VALUE_MAX];
	unsigned long count;

	if (argc != 2 || !(count = strtoul(argv[1], NULL, 10))) {
		fprintf(stderr, "usage: dataset COUNT\n");
		return 2;
	}
	/* As much as a pipe holds: every trip through it costs */
	setvbuf(stdout, NULL, _IOFBF, 64 * 1024);
	write_lines();
	for (unsigned long i = 0; i < count; i++) {
		size_t len = fill(value, i % KINDS);

		printf("*3\r\n$3\r\nSET\r\n$16\r\nkey:%012lu\r\n$%zu\r\n", i, len);
		fwrite(value, 1, len, stdout);
		fputs("\r\n", stdout);
	}
	return fflush(stdout) || ferror(stdout);
}

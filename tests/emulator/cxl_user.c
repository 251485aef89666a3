// SPDX-License-Identifier: GPL-2.0
/*
 * A process with memory of known content, for shell scripts that take the
 * memory's device away. It reads one word per line from the fifo NAME.in and
 * puts the answer into the file NAME.out:
 *
 *	pageout	ask for all pages to be demoted
 *	verify	is the content as it should be? "ok" or the first page that is not
 *	touch	read one byte of each page, without looking at it
 *	last	of the last page only
 *	hold	keep references to 16 pages (in a pipe); "release" lets go
 *	take	read the first of them from the pipe: "ok", "differs" or the error
 *	churn	until the next word comes: write, read and page out at random
 *	quit
 *
 * usage: cxl_user NAME CGROUP MIB [WORDS]	a page repeats after so many random
 *						words of 8 bytes (default 64; 512
 *						does not compress)
 *
 * With HUGE=1 in the environment, in huge pages.
 */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK	64UL		/* pages */
#define HELD	16UL

static char *mem;
static size_t nr_chunks;
static unsigned int *generation;	/* of each chunk: it is the seed */
static int held[2] = { -1, -1 };

static uint64_t seed_of(size_t chunk)
{
	return 1000003 * (uint64_t)getpid() + 4099 * chunk + generation[chunk];
}

static char *chunk_at(size_t chunk)
{
	return mem + chunk * CHUNK * PAGE;
}

static void verify(char *answer, size_t size)
{
	size_t c;

	snprintf(answer, size, "ok");
	for (c = 0; c < nr_chunks; c++) {
		ssize_t bad = differs(chunk_at(c), CHUNK, seed_of(c));

		if (bad >= 0) {
			snprintf(answer, size, "page %zu of %zu differs", c * CHUNK + bad,
				 nr_chunks * CHUNK);
			return;
		}
	}
}

static void hold(void)
{
	struct iovec v = { mem, HELD * PAGE };

	CHECK(!pipe(held));
	CHECK_EQ(vmsplice(held[1], &v, 1, 0), HELD * PAGE);
}

static void take(char *answer, size_t size)
{
	static char page[PAGE];

	if (read(held[0], page, PAGE) < 0)
		snprintf(answer, size, "%s", strerror(errno));
	else
		snprintf(answer, size, differs(page, 1, seed_of(0)) < 0 ? "ok" : "differs");
}

static void release(void)
{
	close(held[0]);
	close(held[1]);
}

static bool word_waits(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Every content that is overwritten or paged out is looked at before or after */
static void churn(int fd)
{
	uint64_t r = getpid();
	size_t c;

	while (!word_waits(fd)) {
		r = r * 6364136223846793005ULL + 1442695040888963407ULL;
		c = (r >> 33) % nr_chunks;
		switch ((r >> 60) & 3) {
		case 0:
			CHECK_CONTENT(chunk_at(c), CHUNK, seed_of(c));
			generation[c]++;
			fill(chunk_at(c), CHUNK, seed_of(c));
			break;
		case 1:
			CHECK_CONTENT(chunk_at(c), CHUNK, seed_of(c));
			break;
		default:
			madvise(chunk_at(c), CHUNK * PAGE, MADV_PAGEOUT);
		}
	}
}

int main(int argc, char **argv)
{
	char in[100], out[100], tmp[110], word[32], answer[100];
	volatile char sink;
	struct cg cg;
	size_t i, len;
	FILE *f;
	int fd;

	if (argc < 4)
		return 2;
	snprintf(in, sizeof(in), "%s.in", argv[1]);
	snprintf(out, sizeof(out), "%s.out", argv[1]);
	snprintf(tmp, sizeof(tmp), "%s.tmp", out);
	snprintf(cg.path, sizeof(cg.path), "%s", argv[2]);
	fill_period = argc > 4 ? atoi(argv[4]) : 64;
	nr_chunks = atoi(argv[3]) * MIB / (CHUNK * PAGE);
	generation = calloc(nr_chunks, sizeof(*generation));
	CHECK(generation && !cg_enter(&cg, getpid()));
	/* Writable, so that it never ends */
	fd = open(in, O_RDWR);
	CHECK(fd >= 0, "%s: %m", in);

	mem = map_huge_area(nr_chunks * CHUNK);
	if (getenv("HUGE"))
		CHECK(!madvise(mem, nr_chunks * CHUNK * PAGE, MADV_HUGEPAGE), "%m");
	for (i = 0; i < nr_chunks; i++)
		fill(chunk_at(i), CHUNK, seed_of(i));
	strcpy(word, "ready");
	for (;;) {
		snprintf(answer, sizeof(answer), "%s", word);
		if (!strcmp(word, "pageout"))
			madvise(mem, nr_chunks * CHUNK * PAGE, MADV_PAGEOUT);
		else if (!strcmp(word, "verify"))
			verify(answer, sizeof(answer));
		else if (!strcmp(word, "touch"))
			for (i = 0; i < nr_chunks * CHUNK; i++)
				sink = mem[i * PAGE];
		else if (!strcmp(word, "last"))
			sink = mem[(nr_chunks * CHUNK - 1) * PAGE];
		else if (!strcmp(word, "hold"))
			hold();
		else if (!strcmp(word, "take"))
			take(answer, sizeof(answer));
		else if (!strcmp(word, "release"))
			release();
		else if (!strcmp(word, "churn"))
			churn(fd);
		else if (!strcmp(word, "quit"))
			return 0;
		/* It ends with the word that is to be answered */
		if (strcmp(word, "churn")) {
			f = fopen(tmp, "w");
			CHECK(f);
			fprintf(f, "%s\n", answer);
			fclose(f);
			CHECK(!rename(tmp, out));
		}

		for (len = 0; len < sizeof(word) - 1 && read(fd, word + len, 1) == 1; len++)
			if (word[len] == '\n')
				break;
		word[len] = '\0';
	}
	(void)sink;
}

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fec.h"
#include "fec_gf.h"
#include "ref.h"

#define K_MAX	 12
#define ROWS_MAX 14
#define LEN_MAX	 2048
#define GUARD	 64

static uint8_t coef[K_MAX * ROWS_MAX], tables[K_MAX * ROWS_MAX * FEC_GF_TABLE] __attribute__((aligned(64)));
static uint8_t out[ROWS_MAX][LEN_MAX + 2 * GUARD], plain[ROWS_MAX][LEN_MAX];
static uint8_t *edge[K_MAX]; /* where pages end that may be read */

/* The form under test, or NULL when the CPU does not run it. */
static const struct fec_gf *form;

static void setup(void)
{
	const size_t page = 4096;

	srand(3);
	for (unsigned i = 0; i < K_MAX; i++) {
		uint8_t *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		cr_assert_neq(p, MAP_FAILED);
		cr_assert_eq(mprotect(p + page, page, PROT_NONE), 0);
		for (size_t j = 0; j < page; j++)
			p[j] = (uint8_t)rand();
		edge[i] = p + page;
	}
	for (unsigned i = 0; i < sizeof(coef); i++)
		coef[i] = (uint8_t)(i < 256 ? i : (unsigned)rand());
}

/* Sums of products one by one, added to what `plain` holds. */
static void by_letter(unsigned n, unsigned k, unsigned rows, unsigned first, unsigned last)
{
	for (unsigned r = 0; r < rows; r++) {
		for (unsigned i = first; i < last; i++) {
			for (unsigned j = 0; j < n; j++)
				plain[r][j] ^= ref_mul(coef[r * k + i], edge[i][(int)j - (int)n]);
		}
	}
}

static void begin(uint8_t fill, uint8_t **dst, unsigned shift)
{
	memset(out, 0xa5, sizeof(out));
	memset(plain, fill, sizeof(plain));
	for (unsigned r = 0; r < ROWS_MAX; r++)
		dst[r] = out[r] + GUARD + shift;
}

static void check(unsigned n, unsigned rows, uint8_t *const *dst, const char *what, unsigned k)
{
	for (unsigned r = 0; r < rows; r++) {
		cr_assert_eq(memcmp(dst[r], plain[r], n), 0, "%s %s: n %u, k %u, row %u of %u", form->name, what, n, k,
			     r, rows);
		cr_assert_eq(dst[r][-1], 0xa5, "%s %s: n %u writes before", form->name, what, n);
		cr_assert_eq(dst[r][n], 0xa5, "%s %s: n %u writes behind", form->name, what, n);
	}
}

/* Both operations over one shape; sources end where reading is forbidden. */
static void shape(unsigned n, unsigned k, unsigned rows)
{
	uint8_t *src[K_MAX], *dst[ROWS_MAX];

	for (unsigned i = 0; i < k; i++)
		src[i] = edge[i] - n;
	form->tables(k, rows, coef, tables);

	begin(0, dst, n % 3);
	by_letter(n, k, rows, 0, k);
	form->sum(n, k, rows, tables, src, dst);
	check(n, rows, dst, "sum", k);

	begin(0x5a, dst, n % 5);
	for (unsigned r = 0; r < rows; r++)
		memset(dst[r], 0x5a, n);
	by_letter(n, k, rows, k / 2, k);
	for (unsigned i = k / 2; i < k; i++)
		form->add(n, k, rows, i, tables, src[i], dst);
	check(n, rows, dst, "add", k);
}

/* The longest of the room, a full packet's, and every length around the vectors' ends. */
static void shapes(void)
{
	for (unsigned rows = 1; rows <= ROWS_MAX; rows++) {
		shape(LEN_MAX, 2, rows);
		shape(1338, 10, rows);
		shape(64, K_MAX, rows);
	}
	for (unsigned n = 1; n <= 270; n++) {
		shape(n, 3, 3);
		shape(n, 10, 1 + n % ROWS_MAX);
	}
}

Test(gf, all_forms_by_the_letter, .init = setup)
{
	unsigned i;

	for (i = 0; (form = fec_gf_form(i)); i++)
		shapes();
	cr_assert_geq(i, 1);
}

/* Every product of the field, through each form. */
Test(gf, every_product)
{
	static uint8_t all[256], got[256];
	uint8_t *src[1] = {all}, *dst[1] = {got};

	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	for (unsigned f = 0; (form = fec_gf_form(f)); f++) {
		for (unsigned c = 0; c < 256; c++) {
			const uint8_t by = (uint8_t)c;

			form->tables(1, 1, &by, tables);
			form->sum(256, 1, 1, tables, src, dst);
			for (unsigned x = 0; x < 256; x++)
				cr_assert_eq(got[x], ref_mul(by, (uint8_t)x), "%s: %u * %u", form->name, c, x);
		}
	}
}

Test(gf, form_is_named)
{
	cr_expect_str_eq(fec_form(), fec_gf()->name);
	cr_expect(!strcmp(fec_form(), "gfni") || !strcmp(fec_form(), "isal"), "%s", fec_form());
}

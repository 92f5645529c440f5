/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "flags.h"

/* Values and tables as text: for libconfig files, and for the help of kcptun's roles. */

/* ---- values ---- */

static void print_quoted(FILE *f, const char *text)
{
	fputc('"', f);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(f, "\\x%02x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static void print_text(FILE *f, const struct conf_item *it, const void *field)
{
	char *text = it->get ? it->get(field) : NULL;
	const char *shown = it->get ? text : *(char *const *)field;

	print_quoted(f, shown ? shown : "");
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static bool is_word(const struct conf_item *it, const void *field)
{
	if (!it->word)
		return false;
	return (it->kind == CONF_BOOL ? *(const uint8_t *)field : *(const unsigned *)field) == it->word_value;
}

void conf_item_print(FILE *f, const struct conf_item *it, const void *base)
{
	const void *field = (const char *)base + it->offset;

	if (is_word(it, field)) {
		print_quoted(f, it->word);
		return;
	}
	switch (it->kind) {
	case CONF_BOOL:
		fputs(*(const uint8_t *)field ? "true" : "false", f);
		break;
	case CONF_AUTO:
		fputs(*(const enum conf_hugepages *)field == CONF_HUGE_NO ? "false" : "true", f);
		break;
	case CONF_UINT:
		fprintf(f, "%u", *(const unsigned *)field);
		break;
	case CONF_INT:
		fprintf(f, "%d", *(const int *)field);
		break;
	case CONF_RATE:
		fprintf(f, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case CONF_ENUM:
		print_quoted(f, it->words[*(const int *)field]);
		break;
	case CONF_WORD:
		print_quoted(f, field);
		break;
	case CONF_TEXT:
		print_text(f, it, field);
		break;
	}
}

/* ---- help ---- */

#define HELP_COLUMN 36

static const char help_head[] =
	"kcpgate %s: kcptun's %s, with its options, on DPDK\n"
	"\n"
	"  kcpgate %s [OPTIONS]\n"
	"\n"
	"It runs on one network interface, that of the %s, which stays with the kernel: only the\n"
	"tunnel's own packets are taken from it.  A value follows its option as \"-x VALUE\" or \"-x=VALUE\", with one "
	"dash\n"
	"or two.  kcpgate import turns the JSON file of -c into a configuration file of kcpgate's, which can say "
	"more.\n"
	"\n";

static const char help_tail[] =
	"\n"
	"  -c FILE                           kcptun's JSON file; its keys are these names and override the options\n"
	"  --help, -h                        this text\n"
	"  --version, -v                     the version\n"
	"\n"
	"KCPTUN_KEY in the environment is the key when --key is absent.  The telemetry's prefix is kcpgate-PID:\n"
	"dpdk-telemetry.py -f kcpgate-PID.\n";

static void print_words(FILE *f, const struct conf_item *it)
{
	if (!it || !it->words)
		return;
	for (unsigned i = 0; it->words[i]; i++)
		fprintf(f, "%s%s", i ? ", " : ": ", it->words[i]);
}

/* A window has a number all the same, where congestion is stock. */
static void print_unset(FILE *f, const struct conf_item *it, const void *base)
{
	fprintf(f, " (default: %s", it->unset);
	if (it->kind == CONF_UINT) {
		fputs("; with congestion stock ", f);
		conf_item_print(f, it, base);
	}
	fputc(')', f);
}

static void print_default(FILE *f, const struct conf_flag *flag, struct conf_args *a)
{
	const struct conf_item *it = conf_flag_item(flag);

	if (flag->unset) {
		fprintf(f, " (default: \"%s\")", flag->unset);
	} else if (strcmp(flag->name, "key") == 0) {
		fprintf(f, " (default: \"" CONF_DEFAULT_KEY "\", which is public)");
	} else if (it && it->unset) {
		print_unset(f, it, conf_flag_obj(a, flag)->base);
	} else if (it && it->kind != CONF_BOOL && flag->part != CONF_P_PORT) {
		fputs(" (default: ", f);
		conf_item_print(f, it, conf_flag_obj(a, flag)->base);
		fputc(')', f);
	}
}

static void print_flag(FILE *f, const struct conf_flag *flag, struct conf_args *a)
{
	const struct conf_item *it = conf_flag_item(flag);
	const char *value = it && it->kind != CONF_BOOL ? " VALUE" : "";
	int n;

	if (flag->ours && !flag[-1].ours)
		fputs("\nOptions that kcptun does not have:\n", f);
	n = fprintf(f, "  --%s%s", flag->name, value);

	/* Another case of the same name, or JSON's, needs no mention. */
	if (flag->also[0] && !flag->json && strcasecmp(flag->also[0], flag->name) != 0)
		n += fprintf(f, ", %s%s%s", flag->also[0][1] == '\0' ? "-" : "--", flag->also[0], value);
	fprintf(f, "%*s%s", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", flag->help ? flag->help : it->help);
	print_words(f, it);
	print_default(f, flag, a);
	fputc('\n', f);
}

int conf_help(FILE *f, enum conf_role role)
{
	struct conf_args a = {.r = {.path = "", .why = NULL}, .role = role};
	const char *name = role == CONF_SERVER ? "server" : "client";
	struct conf *unused = NULL;
	int rc = conf_args_open(&a);

	if (rc == 0) {
		a.r.c->tunnels[0].role = role;
		conf_tunnel_generation(NULL, a.r.c->tunnels);
		fprintf(f, help_head, name, name, name,
			role == CONF_SERVER ? "default route" : "route to the remote address");
		for (const struct conf_flag *flag = conf_flags; flag->name; flag++)
			if (flag->roles & 1u << role)
				print_flag(f, flag, &a);
		fputs(help_tail, f);
	}
	rc = conf_reader_close(&a.r, rc, &unused);
	conf_free(unused);
	return rc;
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "import_peer.h"

#define LOCAL_PORT 12948u /* the first tunnel's: kcptun's own for TCP */

static int no_memory(struct conf_reader *r)
{
	snprintf(r->why, r->why_n, "%s: %s", r->path, strerror(ENOMEM));
	return -ENOMEM;
}

/* ---- values ---- */

bool conf_peer_reads_bool(const yaml_node_t *node, bool *v)
{
	static const char *const words[2][7] = {{"false", "False", "FALSE", "no", "off", "0", NULL},
						{"true", "True", "TRUE", "yes", "on", "1", NULL}};
	const char *text = conf_yaml_text(node);

	for (unsigned yes = 0; text && yes < 2; yes++)
		for (unsigned i = 0; words[yes][i]; i++)
			if (strcmp(text, words[yes][i]) == 0) {
				*v = yes;
				return true;
			}
	return false;
}

bool conf_peer_reads_number(const yaml_node_t *node, int64_t *v)
{
	const char *text = conf_yaml_text(node);
	char *end;
	bool truth;

	if (!text || !*text)
		return false;
	errno = 0;
	*v = strtoll(text, &end, 0);
	if (errno == 0 && *end == '\0')
		return true;
	if (!conf_peer_reads_bool(node, &truth))
		return false;
	*v = truth;
	return true;
}

static int set(struct peer *p, const char *flag, struct conf_value *v)
{
	return conf_flag_set(&p->a, conf_flag_find(flag, strlen(flag), p->a.role, true), v);
}

int conf_peer_text(struct peer *p, const char *flag, const char *text, unsigned line)
{
	struct conf_value v = {.kind = CONF_V_TEXT, .line = line, .text = text};

	return set(p, flag, &v);
}

int conf_peer_number(struct peer *p, const char *flag, int64_t value, unsigned line)
{
	struct conf_value v = {.kind = CONF_V_INT, .line = line, .i = value};

	return set(p, flag, &v);
}

int conf_peer_bool(struct peer *p, const char *flag, bool value, unsigned line)
{
	struct conf_value v = {.kind = CONF_V_BOOL, .line = line, .i = value};

	return set(p, flag, &v);
}

int conf_peer_node(struct peer *p, const char *flag, const yaml_node_t *node)
{
	const struct conf_item *it = conf_flag_item(conf_flag_find(flag, strlen(flag), p->a.role, true));
	unsigned line = conf_yaml_line(node);
	const char *text = conf_yaml_text(node);
	int64_t number;
	bool truth;

	if (!text)
		return conf_fail(&p->a.r, line, "%s: found a list or a map; allowed: a value", flag);
	if (it->kind == CONF_BOOL && conf_peer_reads_bool(node, &truth))
		return conf_peer_bool(p, flag, truth, line);
	if ((it->kind == CONF_UINT || it->kind == CONF_INT || it->kind == CONF_RATE) &&
	    conf_peer_reads_number(node, &number))
		return conf_peer_number(p, flag, number, line);
	return conf_peer_text(p, flag, text, line);
}

static bool is_word(const char *const *words, const char *text)
{
	for (; words && *words; words++)
		if (strcmp(*words, text) == 0)
			return true;
	return false;
}

int conf_peer_crypt(struct peer *p, const char *program, const yaml_node_t *node, const char *const *lacks)
{
	const struct conf_item *it = conf_item_find(&conf_tunnel_table, "crypt");
	const char *text = conf_yaml_text(node);

	if (!text || !*text)
		return 0;
	if (is_word(it->words, text) && !is_word(lacks, text))
		return conf_peer_text(p, "crypt", text, conf_yaml_line(node));
	conf_peer_note(p, "line %u: crypt: %s does not know \"%s\", and takes aes instead", conf_yaml_line(node),
		       program, text);
	return conf_peer_text(p, "crypt", "aes", conf_yaml_line(node));
}

int conf_peer_mode(struct peer *p, const yaml_node_t *node)
{
	static const char *const modes[] = {"normal", "fast", "fast2", "fast3", "manual", NULL};
	const char *text = conf_yaml_text(node);

	return conf_peer_text(p, "mode", text && is_word(modes, text) ? text : "manual", conf_yaml_line(node));
}

/* ---- one tunnel ---- */

bool conf_peer_wanted(const struct peers *all, enum conf_role role)
{
	return !all->role || *all->role == role;
}

int conf_peer_begin(struct peer *p, struct peers *all, enum conf_role role)
{
	static const struct conf_host sockets = {.sockets = true};
	int rc;

	*p = (struct peer){
		.all = all,
		.a = {.r = {.path = all->r.path,
			    .why = all->r.why,
			    .why_n = all->r.why_n,
			    .world_readable = all->r.world_readable && all->n == 0,
			    .lenient = true},
		      .role = role,
		      .host = &sockets},
		.port = LOCAL_PORT + all->n,
	};
	if (all->n == CONF_TUNNELS_MAX)
		return conf_fail(&all->r, 1, "found more than %u tunnels; allowed: as many", CONF_TUNNELS_MAX);
	rc = conf_args_open(&p->a);
	if (rc == 0) {
		p->notes = open_memstream(&p->notes_text, &p->notes_n);
		if (p->notes)
			return 0;
		rc = no_memory(&all->r);
	}
	return conf_reader_close(&p->a.r, rc, NULL);
}

void conf_peer_note(struct peer *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	conf_import_comment(p->notes, "\t\t", text);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._-", c));
}

static bool is_taken(const struct peers *all, const char *name)
{
	for (unsigned i = 0; i < all->n; i++)
		if (strcmp(all->names[i], name) == 0)
			return true;
	return false;
}

/* What may be a name of ours and nobody else's, as like the given one as can be. */
static void make_name(struct peers *all, const char *like)
{
	char base[CONF_NAME_MAX - 5] = "", *name = all->names[all->n];
	size_t n = 0;

	for (; *like && n < sizeof(base) - 1; like++) {
		if (is_letter(*like))
			base[n++] = *like;
		else if (n && base[n - 1] != '-')
			base[n++] = '-';
	}
	while (n && base[n - 1] == '-')
		n--;
	base[n] = '\0';
	snprintf(name, CONF_NAME_MAX, "%s", n ? base : "tunnel");
	if (is_taken(all, name))
		snprintf(name, CONF_NAME_MAX, "%s-%u", n ? base : "tunnel", all->n + 1);
}

static int set_name(struct peer *p, const char *like)
{
	struct conf_value v = {.kind = CONF_V_TEXT, .line = CONF_LINE_ARGV, .text = p->all->names[p->all->n]};

	make_name(p->all, like);
	conf_obj_forget(p->a.r.tunnels, "name");
	return conf_obj_set(&p->a.r, p->a.r.tunnels, "name", &v);
}

/* The port is the file's once: frames where one tunnel needs them, which serve the others too. */
static void print_peer(struct peer *p)
{
	struct peers *all = p->all;
	bool frames = p->a.r.c->tunnels->tcp;

	if (all->n == 0 || (frames && !all->frames)) {
		rewind(all->head);
		conf_import_head(all->head, &p->a);
	}
	all->frames |= frames;
	fputs(all->n ? ",\n" : "", all->tunnels);
	conf_import_tunnel(all->tunnels, &p->a, p->notes_text);
	all->n++;
}

int conf_peer_end(struct peer *p, const char *name, int rc)
{
	struct conf *c = NULL;

	if (fflush(p->notes))
		rc = rc ? rc : no_memory(&p->all->r);
	if (rc == 0)
		rc = conf_args_finish(&p->a);
	if (rc == 0)
		rc = set_name(p, name);
	if (rc == 0)
		print_peer(p);
	fclose(p->notes);
	free(p->notes_text);
	rc = conf_reader_close(&p->a.r, rc, &c);
	conf_free(c);
	return rc;
}

/* ---- the file ---- */

static const struct {
	const char *key;
	int (*read)(struct peers *all);
} kinds[] = {
	{"proxies", conf_peer_mihomo},
	{"listeners", conf_peer_mihomo},
	{"services", conf_peer_gost},
	{"chains", conf_peer_gost},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

bool conf_import_is_peer(const char *key)
{
	for (unsigned i = 0; i < KINDS; i++)
		if (strcmp(kinds[i].key, key) == 0)
			return true;
	return false;
}

static int read_all(struct peers *all)
{
	int rc = -ENOENT;

	for (unsigned i = 0; i < KINDS && rc == -ENOENT; i++)
		if (conf_yaml_get(&all->doc, yaml_document_get_root_node(&all->doc), kinds[i].key))
			rc = kinds[i].read(all);
	if (rc == -ENOENT)
		return conf_fail(&all->r, 1,
				 "found no proxies, listeners, services or chains; allowed: a file of kcptun's (JSON), "
				 "mihomo's or gost's");
	if (rc == 0 && all->n == 0)
		return conf_fail(&all->r, 1,
				 "found nothing of kcptun's protocol%s; allowed: mihomo's \"plugin: kcptun\" and "
				 "\"kcp-tun\", gost's \"type: kcp\"",
				 all->role ? " for that role" : "");
	return rc;
}

static void print(FILE *f, const char *head, const char *tunnels)
{
	fprintf(f, "%s\ntunnels = (\n%s\n);\n", head, tunnels);
}

/* What was printed has passphrases. */
static void wipe(char *text, size_t n)
{
	if (text)
		explicit_bzero(text, n);
	free(text);
}

int conf_import_peer(FILE *f, const char *path, const enum conf_role *role, char *why, size_t why_n)
{
	struct peers *all = calloc(1, sizeof(*all));
	char *head = NULL, *tunnels = NULL;
	size_t head_n = 0, tunnels_n = 0;
	int rc = -ENOMEM;

	if (all) {
		all->r = (struct conf_reader){.path = path, .why = why, .why_n = why_n};
		all->role = role;
		all->head = open_memstream(&head, &head_n);
		all->tunnels = open_memstream(&tunnels, &tunnels_n);
		rc = all->head && all->tunnels ? conf_yaml_open(&all->r, &all->doc) : -ENOMEM;
		if (rc == 0) {
			rc = read_all(all);
			conf_yaml_close(&all->doc);
		}
	}
	if (all && all->head && fclose(all->head))
		rc = rc ? rc : -ENOMEM;
	if (all && all->tunnels && fclose(all->tunnels))
		rc = rc ? rc : -ENOMEM;
	if (rc == 0)
		print(f, head, tunnels);
	else if (rc == -ENOMEM)
		snprintf(why, why_n, "%s: %s", path, strerror(ENOMEM));
	wipe(head, head_n);
	wipe(tunnels, tunnels_n);
	free(all);
	return rc;
}

/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmd.h"

#define MARK	 "PMD_INFO_STRING= "
#define PMD_NAME 48
#define ANY_ID	 0xffff

struct lib {
	uint8_t *map;
	size_t n;
	bool common; /* shared by drivers: its words are theirs too */
};

struct pmd {
	char name[PMD_NAME];
	char *params;	     /* never NULL */
	const char *pci_ids; /* within the file: "[6900, 4096, 65535, 65535], ..." */
	unsigned lib;
	bool pci;
};

struct port_pmds {
	struct lib *libs;
	unsigned n_libs;
	struct pmd *pmds;
	unsigned n_pmds;
};

/* ---- reading ---- */

/* What stands between the quotes behind "key": in the text, or NULL. */
static char *text_of(const char *info, const char *key)
{
	const char *at = strstr(info, key), *end;

	if (!at)
		return NULL;
	at = strchr(at + strlen(key), '"');
	end = at ? strchr(at + 1, '"') : NULL;
	return end ? strndup(at + 1, (size_t)(end - at - 1)) : NULL;
}

static int add_pmd(struct port_pmds *l, unsigned lib, const char *info)
{
	struct pmd *more = realloc(l->pmds, (l->n_pmds + 1) * sizeof(*more));
	char *name = text_of(info, "\"name\":"), *params = text_of(info, "\"params\":");
	const char *ids = strstr(info, "\"pci_ids\":");
	struct pmd *p;

	if (more)
		l->pmds = more;
	if (!params)
		params = strdup("");
	if (!more || !name || !params || !name[0]) {
		free(name);
		free(params);
		return more && params ? 0 : -ENOMEM;
	}
	p = &l->pmds[l->n_pmds++];
	*p = (struct pmd){.params = params, .lib = lib, .pci_ids = ids ? ids + strlen("\"pci_ids\":") : ""};
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->pci = strstr(p->pci_ids, "[[") != NULL;
	free(name);
	return 0;
}

/* The infos of a file, each of which ends with a 0 within it. */
static int read_infos(struct port_pmds *l, unsigned lib)
{
	const uint8_t *at = l->libs[lib].map, *end = at + l->libs[lib].n;
	int ret = 0;

	while (ret == 0 && (at = memmem(at, (size_t)(end - at), MARK, strlen(MARK)))) {
		at += strlen(MARK);
		if (memchr(at, 0, (size_t)(end - at)))
			ret = add_pmd(l, lib, (const char *)at);
	}
	return ret;
}

/* DPDK's own libraries say what their drivers are for; of others nobody knows. */
static bool has_ports(const char *name)
{
	return strncmp(name, "librte_", 7) != 0 || strncmp(name, "librte_net_", 11) == 0;
}

static bool is_common(const char *name)
{
	return strncmp(name, "librte_common_", 14) == 0 || strncmp(name, "librte_bus_", 11) == 0;
}

static int add_lib(struct port_pmds *l, int dir, const char *name)
{
	struct lib *more = realloc(l->libs, (l->n_libs + 1) * sizeof(*more));
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	void *map = MAP_FAILED;

	if (more)
		l->libs = more;
	/* A link leads to one that we see anyway. */
	if (more && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return more ? 0 : -ENOMEM;
	l->libs[l->n_libs++] = (struct lib){
		.map = map,
		.n = (size_t)st.st_size,
		.common = is_common(name),
	};
	return has_ports(name) ? read_infos(l, l->n_libs - 1) : 0;
}

int port_pmds_load(const char *dir, port_pmds_wanted_fn *wanted, const void *ctx, struct port_pmds **out)
{
	struct port_pmds *l = calloc(1, sizeof(*l));
	DIR *d = opendir(dir);
	struct dirent *e;
	int ret = 0;

	while (l && d && ret == 0 && (e = readdir(d)))
		if (strstr(e->d_name, ".so") &&
		    (is_common(e->d_name) || (has_ports(e->d_name) && (!wanted || wanted(ctx, e->d_name)))))
			ret = add_lib(l, dirfd(d), e->d_name);
	if (d)
		closedir(d);
	if (!l)
		return -ENOMEM;
	if (ret == 0 && l->n_pmds == 0)
		ret = -ENOENT;
	if (ret) {
		port_pmds_free(l);
		return ret;
	}
	*out = l;
	return 0;
}

void port_pmds_free(struct port_pmds *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < l->n_pmds; i++)
		free(l->pmds[i].params);
	for (unsigned i = 0; i < l->n_libs; i++)
		munmap(l->libs[i].map, l->libs[i].n);
	free(l->pmds);
	free(l->libs);
	free(l);
}

/* ---- which ---- */

static bool is_for_card(const struct pmd *p, const struct port_pmd_of *of)
{
	unsigned v, d;

	for (const char *at = p->pci_ids; *at && (at = strchr(at, '[')); at++)
		if (sscanf(at, "[%u, %u", &v, &d) == 2 && (v == of->vendor || v == ANY_ID) &&
		    (d == of->id || d == ANY_ID))
			return true;
	return false;
}

/* A vdev's name begins with its driver's. */
static bool is_for(const struct pmd *p, const struct port_pmd_of *of)
{
	const char *name = p->name;

	if (!of->vdev)
		return p->pci && is_for_card(p, of);
	if (strncmp(of->device, "virtio_user", 11) == 0 && strncmp(name, "net_", 4) == 0)
		name += 4;
	return !p->pci && strncmp(of->device, name, strlen(name)) == 0;
}

/* A card's first one; a vdev's with the longest name, as net_tap is none of net_ta's. */
static const struct pmd *driver_of(const struct port_pmds *l, const struct port_pmd_of *of)
{
	const struct pmd *best = NULL;

	for (unsigned i = 0; i < l->n_pmds; i++) {
		const struct pmd *p = &l->pmds[i];

		if (is_for(p, of) && (!best || (of->vdev && strlen(p->name) > strlen(best->name))))
			best = p;
	}
	return best;
}

const char *port_pmds_driver(const struct port_pmds *l, const struct port_pmd_of *of)
{
	const struct pmd *p = driver_of(l, of);

	return p ? p->name : NULL;
}

const char *port_pmds_params(const struct port_pmds *l, const struct port_pmd_of *of)
{
	const struct pmd *p = driver_of(l, of);

	return p ? p->params : "";
}

void port_pmds_names(const struct port_pmds *l, char *buf, size_t n)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < l->n_pmds && at < n; i++)
		if (!l->pmds[i].pci && strncmp(l->pmds[i].name, "net_", 4) == 0)
			at += (size_t)snprintf(buf + at, n - at, "%s%s", at ? ", " : "", l->pmds[i].name);
}

/* ---- arguments ---- */

static bool has_word(const struct lib *lib, const char *word)
{
	/* Its end too: linkers let a word be the end of a longer one. */
	return memmem(lib->map, lib->n, word, strlen(word) + 1) != NULL;
}

/* A card may have several drivers, of which an argument chooses one. */
static bool knows(const struct port_pmds *l, const struct port_pmd_of *of, const char *key)
{
	/* What EAL and ethdev understand of any device. */
	static const char *const general[] = {"representor", "bus", "class", "driver", "mac", "iova-mode"};

	for (unsigned i = 0; i < sizeof(general) / sizeof(general[0]); i++)
		if (strcmp(key, general[i]) == 0)
			return true;
	for (unsigned i = 0; i < l->n_pmds; i++)
		if (is_for(&l->pmds[i], of) && has_word(&l->libs[l->pmds[i].lib], key))
			return true;
	for (unsigned i = 0; i < l->n_libs; i++)
		if (l->libs[i].common && has_word(&l->libs[i], key))
			return true;
	return false;
}

/* The length of the argument that s begins with: its comma is none within brackets. */
static size_t arg_len(const char *s)
{
	int depth = 0;
	size_t n = 0;

	for (; s[n] && (s[n] != ',' || depth > 0); n++)
		depth += (s[n] == '[') - (s[n] == ']');
	return n;
}

bool port_pmds_unknown(const struct port_pmds *l, const struct port_pmd_of *of, char *key, size_t n)
{
	const char *at = of->device + strcspn(of->device, ",");

	while (*at == ',') {
		size_t len = arg_len(++at), k = strcspn(at, "=,");

		snprintf(key, n, "%.*s", (int)(k < len ? k : len), at);
		if (!knows(l, of, key))
			return true;
		at += len;
	}
	return false;
}

/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "doctor_int.h"

#define LIST 256

/* ---- what it can ---- */

static bool has_flag(const char *flags, const char *flag)
{
	size_t n = strlen(flag);

	for (const char *s = flags; (s = strstr(s, flag)); s += n)
		if ((s == flags || s[-1] == ' ') && (s[n] == ' ' || s[n] == '\0'))
			return true;
	return false;
}

static void least(struct doctor *d, const char *model, const char *flags)
{
	static const char *const told[] = {"sse4_2",   "aes",  "avx2",	     "avx512f", "avx512bw",
					   "avx512vl", "vaes", "vpclmulqdq", "gfni"};
	char have[LIST] = "";

	for (unsigned i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		if (has_flag(flags, told[i]))
			snprintf(have + strlen(have), sizeof(have) - strlen(have), " %s", told[i]);
	if (has_flag(flags, "sse4_2")) {
		doctor_add(d, DOCTOR_OK, "%s:%s", model[0] ? model : "CPU", have);
		return;
	}
	doctor_add(d, DOCTOR_MISSING, "%s: no SSE4.2", model[0] ? model : "CPU");
	doctor_why(d, "DPDK is compiled for it, and ends in an illegal instruction");
	doctor_mend(d, "another machine; of a virtual one, the CPU type \"host\" (qemu -cpu host)");
}

static bool is_aes(const char *cipher)
{
	return strncmp(cipher, "aes", 3) == 0;
}

static void cipher(struct doctor *d, const char *name, const char *flags)
{
	const char *form = d->ask.cipher(name);

	if (!form) {
		doctor_add(d, DOCTOR_MISSING, "cipher %s: not on this CPU", name);
		return;
	}
	if (!is_aes(name) || !flags[0] || has_flag(flags, "aes")) {
		doctor_add(d, DOCTOR_OK, "cipher %s: %s", name, form);
		return;
	}
	doctor_add(d, DOCTOR_HINT, "cipher %s: %s", name, form);
	doctor_why(d, "the CPU has no AES instructions: each packet costs many times more");
	doctor_mend(d,
		    "crypt = \"salsa20\" on both sides; of a virtual machine, the CPU type \"host\" (qemu -cpu host)");
}

static bool is_first(const struct conf *c, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (strcmp(c->tunnels[k].crypt, c->tunnels[i].crypt) == 0)
			return false;
	return true;
}

void doctor_cpu(struct doctor *d)
{
	char model[128], flags[4096];
	bool fec = !d->conf;

	doctor_field(d, "/proc/cpuinfo", "model name", model, sizeof(model));
	if (doctor_field(d, "/proc/cpuinfo", "flags", flags, sizeof(flags)))
		least(d, model, flags);
	else
		doctor_add(d, DOCTOR_HINT, "/proc/cpuinfo tells no flags of the CPU");
	if (!d->conf)
		cipher(d, "aes", flags);
	for (unsigned i = 0; d->conf && i < d->conf->n_tunnels; i++) {
		fec |= d->conf->tunnels[i].datashard && d->conf->tunnels[i].parityshard;
		if (is_first(d->conf, i))
			cipher(d, d->conf->tunnels[i].crypt, flags);
	}
	if (fec)
		doctor_add(d, DOCTOR_OK, "FEC: %s", strcmp(d->ask.fec(), "gfni") ? "ISA-L" : "GFNI and AVX-512");
}

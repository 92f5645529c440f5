/* SPDX-License-Identifier: MIT */

/* What is asked of a capture, as text. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "tlm.h"

#define WORD 160

static int fault(char *why, size_t why_n, const char *word, const char *allowed)
{
	snprintf(why, why_n, "%.60s; allowed: %s", word, allowed);
	return -EINVAL;
}

static bool number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *out <= max;
}

/* "ADDRESS", "IPv4:PORT" or "[ADDRESS]:PORT". */
static bool peer(char *text, struct capture_want *w)
{
	char *colon = strrchr(text, ':');
	uint64_t port = 0;

	w->any_peer = false;
	if (text[0] == '[' || (colon && strchr(text, ':') == colon)) {
		if (!colon || !number(colon + 1, UINT16_MAX, &port) || port == 0)
			return false;
		*colon = '\0';
		if (text[0] == '[') {
			if (colon[-1] != ']')
				return false;
			colon[-1] = '\0';
			text++;
		}
	}
	w->peer_port = (uint16_t)port;
	return addr_parse(text, &w->peer) == 0;
}

static bool tunnel(const struct tlm_src *src, const char *name, struct capture_want *w)
{
	for (unsigned i = 0; i < src->conf->n_tunnels; i++)
		if (!strcmp(src->conf->tunnels[i].name, name)) {
			w->tunnel = (int)i;
			return true;
		}
	return false;
}

static int one(const struct tlm_src *src, char *word, struct record_ask *a, char *why, size_t why_n)
{
	char whole[WORD], *value = strchr(word, '=');
	struct capture_want *w = &a->want;
	uint64_t n = 0;

	snprintf(whole, sizeof(whole), "%s", word);
	if (!value)
		return fault(why, why_n, whole, "NAME=VALUE");
	*value++ = '\0';
	if (!strcmp(word, "tunnel"))
		return tunnel(src, value, w) ? 0 : fault(why, why_n, whole, "the name of a tunnel of this gateway");
	if (!strcmp(word, "peer"))
		return peer(value, w) ? 0 : fault(why, why_n, whole, "ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT");
	if (!strcmp(word, "session")) {
		if (w->n_sessions == CAPTURE_SESSIONS || !number(value, UINT64_MAX, &n) || !n)
			return fault(why, why_n, whole, "up to 16 ids of /kcpgate/sessions");
		w->session[w->n_sessions++] = n;
		return 0;
	}
	if (!strcmp(word, "snaplen")) {
		if (!number(value, CAPTURE_LONGEST, &n) || !n)
			return fault(why, why_n, whole, "1 to 65535");
		w->snaplen = (uint32_t)n;
		return 0;
	}
	if (!strcmp(word, "count"))
		return number(value, UINT64_MAX, &a->count) && a->count ? 0 : fault(why, why_n, whole, "1 or more");
	if (!strcmp(word, "seconds")) {
		if (!number(value, 1000000000, &n) || !n)
			return fault(why, why_n, whole, "1 or more");
		a->seconds = (unsigned)n;
		return 0;
	}
	if (!strcmp(word, "plaintext")) {
		w->plain = !strcmp(value, "1");
		return w->plain ? 0 : fault(why, why_n, whole, "1");
	}
	return fault(why, why_n, whole, "tunnel, session, peer, snaplen, count, seconds, plaintext");
}

int record_parse(const struct tlm_src *src, const char *text, struct record_ask *out, char *why, size_t why_n)
{
	char word[WORD];

	*out = (struct record_ask){.want = {.tunnel = -1, .any_peer = true, .snaplen = CAPTURE_LONGEST}};
	while (*text) {
		size_t n = strcspn(text, ",");
		int ret;

		if (n >= sizeof(word))
			return fault(why, why_n, text, "shorter words");
		memcpy(word, text, n);
		word[n] = '\0';
		ret = one(src, word, out, why, why_n);
		if (ret)
			return ret;
		text += n + (text[n] == ',');
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "families.h"
#include "http.h"
#include "page.h"
#include "server.h"
#include "status.h"

#define REQUEST_MAX 16384 /* bytes of a request's head, and what libmicrohttpd keeps with it */

/* ---- answers ---- */

static const struct {
	const char *name, *value;
} always[] = {
	{"Cache-Control", "no-store"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
};

static enum MHD_Result send_out(struct MHD_Connection *conn, unsigned code, const char *type, struct MHD_Response *r)
{
	enum MHD_Result ret;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type", type);
	for (unsigned i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		MHD_add_response_header(r, always[i].name, always[i].value);
	ret = MHD_queue_response(conn, code, r);
	MHD_destroy_response(r);
	return ret;
}

/* A line that says what is wrong and what would have been right. */
static enum MHD_Result refuse(struct MHD_Connection *conn, unsigned code, const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);

	if (r && code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET");
	if (r)
		MHD_add_response_header(r, "Connection", "close");
	return send_out(conn, code, "text/plain; charset=utf-8", r);
}

static enum MHD_Result send_om(struct MHD_Connection *conn, struct om *o, const char *type)
{
	if (o->failed || !o->buf)
		return refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for the answer\n");
	return send_out(conn, MHD_HTTP_OK, type, MHD_create_response_from_buffer(o->n, o->buf, MHD_RESPMEM_MUST_FREE));
}

/* ---- what there is ---- */

static const char *header(struct MHD_Connection *conn, const char *name)
{
	return MHD_lookup_connection_value(conn, MHD_HEADER_KIND, name);
}

static const char *parameter(struct MHD_Connection *conn, const char *name)
{
	return MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result get_metrics(struct server *s, struct MHD_Connection *conn)
{
	bool open = http_wants_openmetrics(header(conn, "Accept"));
	struct om o;

	om_begin(&o, open);
	families_put(&o, s->src, s->look, s->started);
	om_end(&o);
	return send_om(conn, &o,
		       open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			    : "text/plain; version=0.0.4; charset=utf-8");
}

static enum MHD_Result get_status(struct server *s, struct MHD_Connection *conn)
{
	struct status_ask ask = {.tunnel = -1};
	unsigned long long since = 0, tunnel = 0;
	const char *sort = parameter(conn, "sort"), *only = parameter(conn, "tunnel");
	struct om o;

	if (!http_number(parameter(conn, "since"), UINT64_MAX / 2, &since))
		return refuse(conn, MHD_HTTP_BAD_REQUEST, "since: allowed: a number of seconds\n");
	if (!http_number(only, s->src->conf->n_tunnels - 1, &tunnel))
		return refuse(conn, MHD_HTTP_BAD_REQUEST, "tunnel: allowed: the number of a tunnel, from 0\n");
	if (sort && !status_sort(sort, &ask))
		return refuse(conn, MHD_HTTP_BAD_REQUEST, "sort: allowed: " STATUS_SORTS "\n");
	ask.since = since;
	ask.tunnel = only ? (int)tunnel : -1;
	om_begin(&o, false);
	glance_lock(s->look);
	glance_watch(s->look);
	status_put(&o, s->src, s->look, s->started, &ask);
	glance_unlock(s->look);
	return send_om(conn, &o, "application/json; charset=utf-8");
}

static enum MHD_Result get_page(struct server *s, struct MHD_Connection *conn)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(metrics_page_n, (void *)metrics_page, MHD_RESPMEM_PERSISTENT);

	(void)s;
	if (r)
		MHD_add_response_header(r, "Content-Security-Policy", metrics_page_policy);
	return send_out(conn, MHD_HTTP_OK, "text/html; charset=utf-8", r);
}

static const struct {
	const char *path;
	enum MHD_Result (*get)(struct server *s, struct MHD_Connection *conn);
} paths[] = {{"/metrics", get_metrics}, {"/status.json", get_status}, {"/", get_page}};

static bool has_body(struct MHD_Connection *conn)
{
	const char *n = header(conn, "Content-Length");

	return (n && strcmp(n, "0") != 0) || header(conn, "Transfer-Encoding");
}

/* ---- connections: who takes longest gives way ---- */

static struct server_conn *first_of(struct list *l)
{
	return list_empty(l) ? NULL : container_of(l->next, struct server_conn, in);
}

/* libmicrohttpd reads the end, or fails to write, and closes it. */
static void make_room(struct server *s)
{
	struct server_conn *c = first_of(&s->busy);

	if (s->n < METRICS_CONNECTIONS)
		return;
	if (!c)
		c = first_of(&s->idle);
	if (!c)
		return;
	shutdown(c->fd, SHUT_RDWR);
	list_del(&c->in);
	c->gone = true;
	s->n--;
}

static void on_connection(void *ctx, struct MHD_Connection *conn, void **mine, enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info;
	struct server *s = ctx;
	struct server_conn *c = *mine;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (c && !c->gone) {
			list_del(&c->in);
			s->n--;
		}
		free(c);
		return;
	}
	make_room(s);
	c = calloc(1, sizeof(*c));
	info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!c || !info) {
		free(c); /* it is not among those that give way, and ends by its time */
		return;
	}
	c->fd = info->connect_fd;
	list_add_tail(&s->busy, &c->in);
	s->n++;
	*mine = c;
}

static void move(struct MHD_Connection *conn, struct list *to)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct server_conn *c = info ? info->socket_context : NULL;

	if (!c || c->gone)
		return;
	list_del(&c->in);
	list_add_tail(to, &c->in);
}

static void on_completed(void *ctx, struct MHD_Connection *conn, void **mine, enum MHD_RequestTerminationCode why)
{
	struct server *s = ctx;

	if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		move(conn, &s->idle);
}

/* ---- a request ---- */

/* Called first when the head is there, and again when the rest is. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *n, void **mine)
{
	static char begun;
	struct server *s = ctx;

	if (*mine == NULL) {
		*mine = &begun;
		move(conn, &s->busy);
		if (strcmp(method, "GET") != 0)
			return refuse(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "allowed: GET\n");
		if (has_body(conn))
			return refuse(conn, MHD_HTTP_BAD_REQUEST, "allowed: GET without a body\n");
		if (s->local && !http_host_is_local(header(conn, "Host")))
			return refuse(conn, MHD_HTTP_FORBIDDEN, "Host: allowed: an address, or localhost\n");
		return MHD_YES;
	}
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(paths[i].path, url) == 0)
			return paths[i].get(s, conn);
	return refuse(conn, MHD_HTTP_NOT_FOUND, "allowed: /, /metrics, /status.json\n");
}

/* Nothing here has a name with an escape in it; and what one stands for may end a string. */
static size_t as_it_is(void *ctx, struct MHD_Connection *conn, char *text)
{
	return strlen(text);
}

int server_start(struct server *s, int listen)
{
	list_init(&s->busy);
	list_init(&s->idle);
	s->n = 0;
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request, s,
				     MHD_OPTION_LISTEN_SOCKET, (MHD_socket)listen, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)METRICS_CONNECTIONS + METRICS_SPARE, MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)METRICS_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MAX,
				     MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED,
				     on_completed, s, MHD_OPTION_UNESCAPE_CALLBACK, as_it_is, NULL, MHD_OPTION_END);
	return s->daemon ? 0 : errno ? -errno : -ENOMEM;
}

void server_stop(struct server *s)
{
	MHD_stop_daemon(s->daemon);
}

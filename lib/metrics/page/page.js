"use strict";
/* SPDX-License-Identifier: MIT */
(() => {
const PERIOD_MS = 1000, LINES = 8, HEIGHT = 150;
const $ = id => document.getElementById(id);

/* ---- numbers for people ---- */

const none = v => v === null || v === undefined || Number.isNaN(v);
const digits = v => v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);
function scaled(v, step, words) {
	let i = 0;
	while (v >= step * 0.9995 && i < words.length - 1) { v /= step; i++; }
	return [i === 0 ? (v === Math.round(v) ? String(v) : digits(v)) : digits(v), words[i]];
}
const join = p => p[1] ? p[0] + "\u202f" + p[1] : p[0];
const unit = {
	bits: v => scaled(v, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]),
	rate: v => unit.bits(v * 8), /* bytes a second */
	part: v => [(v * 100).toFixed(v > 0 && v < 0.0995 ? 1 : 0), "%"],
	time: v => v >= 1 ? [digits(v), "s"] : v >= 0.001 ? [digits(v * 1000), "ms"] : [(v * 1e6).toFixed(0), "µs"],
	packets: v => v < 10 ? [v.toFixed(v && v < 9.95 ? 1 : 0), "/s"] : scaled(v, 1000, ["/s", "k/s", "M/s"]),
	count: v => scaled(v, 1000, ["", "k", "M", "G"]),
	bytes: v => scaled(v, 1024, ["B", "KiB", "MiB", "GiB"]),
	age: s => s < 120 ? [String(Math.round(s)), "s"] : s < 7200 ? [String(Math.round(s / 60)), "min"] :
		s < 172800 ? [String(Math.round(s / 3600)), "h"] : [String(Math.round(s / 86400)), "d"],
};
const short = p => [p[0].includes(".") ? p[0].replace(/\.?0+$/, "") : p[0], p[1]]; /* on an axis */
const say = (kind, v) => none(v) ? "–" : join(unit[kind](v));

function make(tag, more, ...inside) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(more || {}))
		if (v !== false && v !== null) e.setAttribute(k, v === true ? "" : v);
	e.append(...inside);
	return e;
}
const put = (e, text) => { if (e.textContent !== text) e.textContent = text; };

/* ---- what the server has told ---- */

const PLOTS = [
	{key: "in", kind: "bits", title: "Received", what: "what KCP hands on", least: 1000},
	{key: "out", kind: "bits", title: "Sent", what: "what KCP is given", least: 1000},
	{key: "lost", kind: "part", title: "Sent again", what: "of the segments sent: loss", least: 0.01},
	{key: "rtt", kind: "time", title: "Round trip", what: "median of active sessions", least: 0.001},
	{key: "queue", kind: "time", title: "Queue", what: "round trip above the path's least", least: 0.001},
	{key: "recovered", kind: "packets", title: "FEC", what: "datagrams lost and rebuilt"},
	{key: "cpu", kind: "part", title: "CPU", what: "of one, shared out by datagrams", least: 0.01},
	{key: "sessions", kind: "count", title: "Sessions", what: "now", least: 4, whole: true},
];
let second = 0, started = 0, points = 300, base = 0, last = null;
const lines = new Map(); /* number of a tunnel -> {name, color, shown, series: {key: [..]}, first: second of the first} */

function forget() { lines.clear(); second = 0; }

/* A tunnel keeps its color while there is one to keep. */
function color() {
	const used = new Set([...lines.values()].map(l => l.color));
	for (let c = 0; c < LINES; c++) if (!used.has(c)) return c;
	return LINES - 1;
}

/* False: a tunnel has come among the busiest of which the beginning is missing. */
function take(v) {
	const had = second;
	if (started && Math.abs(v.started - started) > 1) forget();
	started = v.started; points = v.points; base = v.now - v.second;
	for (const key of [...lines.keys()]) if (!(key in v.history)) lines.delete(key);
	for (const [key, got] of Object.entries(v.history)) {
		let l = lines.get(key);
		if (!l && had && v.from > 1 && v.from > v.second - points + 1) return false;
		if (!l) lines.set(key, l = {name: v.tunnels[key].name, color: color(), shown: true, first: v.from, series: {}});
		for (const p of PLOTS) {
			const s = l.series[p.key] ||= [];
			s.push(...(p.kind === "bits" ? got[p.key].map(b => none(b) ? null : 8 * b) : got[p.key]));
			if (s.length > points) s.splice(0, s.length - points);
		}
		l.first = v.second - l.series[PLOTS[0].key].length + 1;
	}
	second = v.second;
	return true;
}

/* ---- plots ---- */

const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const sync = uPlot.sync("kcpgate");
const drawn = () => [...lines.values()].filter(l => l.shown);

for (const p of PLOTS) {
	p.values = make("div", {class: "values"});
	p.box = make("div", {class: "plot", role: "img"});
	$("plots").append(make("figure", {id: "plot-" + p.key}, make("figcaption", {}, make("h3", {}, p.title), make("span", {}, p.what)),
		p.values, p.box));
}

/* From the first that is known, but a minute at least. */
const begin = () => Math.max(second - points + 1, Math.min(second - 59, ...[...lines.values()].map(l => l.first)));

function data(p, ls) {
	const x = [], from = begin();
	for (let s = from; s <= second; s++) x.push(base + s);
	return [x, ...ls.map(l => {
		const s = l.series[p.key], gap = l.first - from;
		return x.map((_, i) => s[i - gap] ?? null);
	})];
}

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];
function options(p, ls) {
	const axis = {stroke: css("--soft"), font: "12px system-ui, sans-serif", grid: {stroke: css("--grid"), width: 1}, ticks: {show: false}};
	return {
		width: Math.max(200, p.box.clientWidth), height: HEIGHT, padding: [8, 26, 0, 0],
		cursor: {sync: {key: sync.key}, drag: {x: false, y: false}, points: {size: 7}},
		scales: {x: {time: true}, y: {range: (u, lo, hi) => [0, Math.max(p.least || 1, (hi || 0) * 1.08)]}},
		axes: [{...axis, size: 30, space: 76, values: (u, at) => at.map(t => new Date(t * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false}))},
			{...axis, size: 76, space: 32, ...(p.whole ? {incrs: WHOLE} : {}), values: (u, at) => at.map(v => v ? join(short(unit[p.kind](v))) : "0")}],
		series: [{}, ...ls.map(l => ({label: l.name, stroke: css("--c" + l.color), width: 1.6,
			fill: ls.length === 1 ? css("--c" + l.color) + "1f" : undefined, points: {show: false}}))],
		hooks: {setCursor: [u => values(p, u.cursor.idx)]},
	};
}

/* By the plot, what its lines are: where the pointer is, or now. */
function values(p, at) {
	const ls = p.ls || [];
	if (p.values.childElementCount !== ls.length)
		p.values.replaceChildren(...ls.map(l => make("i", {}, make("span", {class: "dot dot" + l.color}), "", make("b"))));
	ls.forEach((l, i) => {
		const e = p.values.children[i], d = p.plot ? p.plot.data[i + 1] : [];
		const v = at === null || at === undefined ? d[d.length - 1] : d[at];
		e.firstChild.className = "dot dot" + l.color;
		if (e.childNodes[1].data !== l.name + " ") e.childNodes[1].data = l.name + " ";
		put(e.lastChild, say(p.kind, v));
	});
}

const shape = ls => ls.map(l => l.name + l.color).join(" ");
function draw(anew) {
	const ls = drawn();
	for (const p of PLOTS) {
		if (anew || !p.plot || p.shape !== shape(ls)) {
			if (p.plot) p.plot.destroy();
			p.shape = shape(ls);
			p.ls = ls;
			p.plot = new uPlot(options(p, ls), data(p, ls), p.box);
		} else {
			p.plot.setData(data(p, ls));
		}
		values(p, p.plot.cursor.idx);
		p.box.setAttribute("aria-label", p.title + ", " + p.what + ": " + (ls.map(l => {
			const s = l.series[p.key];
			return l.name + " " + say(p.kind, s[s.length - 1]);
		}).join(", ") || "nothing"));
	}
}
new ResizeObserver(() => PLOTS.forEach(p => p.plot && p.plot.setSize({width: Math.max(200, p.box.clientWidth), height: HEIGHT}))).observe($("plots"));

function chips() {
	const want = [...lines.entries()];
	if ($("chips").dataset.of === want.map(([k, l]) => k + l.color).join()) return;
	$("chips").dataset.of = want.map(([k, l]) => k + l.color).join();
	$("chips").replaceChildren(...want.map(([, l]) => {
		const b = make("button", {type: "button", "aria-pressed": String(l.shown)}, make("span", {class: "dot dot" + l.color}), l.name);
		b.addEventListener("click", () => {
			l.shown = !l.shown;
			b.setAttribute("aria-pressed", String(l.shown));
			draw(false);
		});
		return b;
	}));
}

/* ---- tables: rows are kept by their key, so that focus and reading go on ---- */

function table(id, caption, columns, empty) {
	const t = $(id), body = make("tbody"), rows = new Map(), heads = new Map();
	const tr = make("tr");
	for (const c of columns) {
		const th = make("th", {scope: "col", class: (c.left ? "l " : "") + (c.wide ? "wide" : "")});
		if (c.sort) {
			const b = make("button", {type: "button", title: "Highest first"}, c.title);
			b.addEventListener("click", () => c.sort(c));
			th.append(b);
		} else {
			th.append(c.title);
		}
		heads.set(c, th);
		tr.append(th);
	}
	t.append(make("caption", {class: "hidden"}, caption), make("thead", {}, tr), body);
	return {
		sorted(c) { for (const [k, th] of heads) k === c ? th.setAttribute("aria-sort", "descending") : th.removeAttribute("aria-sort"); },
		show(list, key) {
			const seen = new Set();
			list.forEach((v, i) => {
				const k = key(v);
				let r = rows.get(k);
				seen.add(k);
				if (!r) {
					r = make("tr", {}, ...columns.map((c, n) => make(n ? "td" : "th",
						{...(n ? {} : {scope: "row"}), class: (c.left ? "l " : "") + (c.wide ? "wide " : "") + (c.wrap ? "wrap" : "")})));
					rows.set(k, r);
				}
				columns.forEach((c, n) => put(r.children[n], c.text(v)));
				if (body.children[i] !== r) body.insertBefore(r, body.children[i] || null);
			});
			for (const [k, r] of rows) if (!seen.has(k)) { r.remove(); rows.delete(k); }
			body.querySelector("td.none")?.parentNode.remove();
			if (!list.length) body.append(make("tr", {}, make("td", {class: "none", colspan: columns.length}, empty)));
		},
	};
}
const col = (title, key, kind, more) => ({title, key, text: v => say(kind, v[key]), ...more});
const word = (title, key, more) => ({title, key, left: true, text: v => String(v[key] ?? "–"), ...more});

function limits(v) {
	const all = Object.entries(v.limited_by).sort((a, b) => b[1] - a[1]), n = all.reduce((s, e) => s + e[1], 0);
	return all.slice(0, 2).map(([k, c]) => all.length > 1 ? k + " " + Math.round(100 * c / n) + "\u202f%" : k).join(", ") || "–";
}
const tunnels = table("tunnels", "Tunnels as they are now", [
	word("Tunnel", "name"), word("Role", "role", {wide: true}), col("Received", "in", "rate"), col("Sent", "out", "rate"),
	col("Sent again", "lost", "part"), col("Round trip", "rtt", "time"), col("99\u202f% below", "rtt99", "time", {wide: true}), col("Queue", "queue", "time"),
	col("FEC", "recovered", "packets", {wide: true}), col("CPU", "cpu", "part"), col("Sessions", "sessions", "count"),
	{title: "Limited by", left: true, text: limits}], "There are none.");

let sort = "", only = "";
const sorting = c => { sort = sort === c.key ? "" : c.key; ask(); };
const by = {sort: sorting};
const columns = [
	word("Peer", "peer"), {title: "Tunnel", left: true, text: v => last.tunnels[v.tunnel].name}, word("Is", "kind", {wide: true}),
	col("Received", "in", "rate", by), col("Sent", "out", "rate", by), col("Sent again", "lost", "part", by), col("Round trip", "rtt", "time", by),
	col("Queue", "queue", "time", by), col("Streams", "streams", "count", by), col("In flight", "flight", "count", {...by, wide: true}),
	col("Memory", "memory", "bytes", {...by, wide: true}), col("Age", "age", "age", by), word("Limited by", "limited_by")];
const sessions = table("sessions", "Sessions, the highest first", columns, "There are none.");
const drops = table("drops", "What was dropped, by reason", [
	word("Reason", "reason"), {title: "How many", text: v => v.n.toLocaleString("en")}, word("What it means", "why", {wrap: true})], "Nothing.");

$("only").addEventListener("change", () => { only = $("only").value; forget(); ask(); });

/* ---- the rest of the page ---- */

const tiles = new Map();
function tile(name, kind, v) {
	let e = tiles.get(name);
	if (!e) {
		e = make("dd");
		tiles.set(name, e);
		$("tiles").append(make("div", {}, make("dt", {}, name), e));
	}
	const p = none(v) ? ["–", ""] : unit[kind](v);
	if (e.dataset.v === p.join()) return;
	e.dataset.v = p.join();
	e.replaceChildren(p[0], ...(p[1] ? [make("small", {}, p[1])] : []));
}
const sum = (list, key) => list.reduce((s, v) => s + (v[key] || 0), 0);

function show(v) {
	last = v;
	put($("about"), "version " + v.version + ", up " + join(unit.age(v.now - v.started)));
	if ($("only").childElementCount !== v.tunnels.length + 1)
		$("only").replaceChildren(make("option", {value: ""}, "all"), ...v.tunnels.map((t, i) => make("option", {value: i}, t.name)));
	tile("Received", "rate", sum(v.tunnels, "in"));
	tile("Sent", "rate", sum(v.tunnels, "out"));
	tile("Sessions", "count", sum(v.tunnels, "sessions"));
	tile("Streams", "count", sum(v.workers, "streams"));
	tile("Busiest worker", "part", Math.max(0, ...v.workers.map(w => w.busy)));
	tile("Workers", "count", v.workers.length);
	chips();
	draw(false);
	tunnels.show(v.tunnels, t => t.name);
	sessions.sorted(columns.find(c => c.sort && c.key === sort));
	sessions.show(v.sessions, s => s.id);
	put($("sessions-note"), (v.sessions.length < v.followed || v.not_followed ?
		"The " + v.sessions.length + " highest of " + (only ? "tunnel " + v.tunnels[only].name + "'s, of " : "") +
		(v.followed + v.not_followed).toLocaleString("en") + " in all" : v.followed + " in all") +
		(v.not_followed ? "; " + v.not_followed.toLocaleString("en") + " are not followed" : "") +
		(sort ? "." : ", by bytes both ways. A column's name sorts by it."));
	drops.show(v.drops, d => d.reason);
}

let paused = false, timer = 0, turn = 0;
function state(text, name) { put($("state"), text); $("state").className = name; }

async function ask() {
	const mine = ++turn;
	clearTimeout(timer);
	try {
		const q = "since=" + second + (sort ? "&sort=" + sort : "") + (only ? "&tunnel=" + only : "");
		const r = await fetch("/status.json?" + q, {cache: "no-store", signal: AbortSignal.timeout(10000)});
		if (!r.ok) throw new Error(await r.text());
		const v = await r.json();
		if (mine !== turn) return;
		if (!take(v)) { forget(); return ask(); }
		show(v);
		state("live", "live");
	} catch (e) {
		if (mine !== turn) return;
		state("no answer" + (last ? " since " + new Date(last.now * 1000).toLocaleTimeString() : ""), "lost");
	}
	if (!paused && !document.hidden) timer = setTimeout(ask, PERIOD_MS);
}

$("pause").addEventListener("click", () => {
	paused = !paused;
	$("pause").setAttribute("aria-pressed", String(paused));
	if (!paused) return ask();
	turn++;
	clearTimeout(timer);
	state("paused", "");
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) ask(); });

/* ---- light and dark ---- */

const dark = matchMedia("(prefers-color-scheme: dark)");
const THEMES = ["system", "light", "dark"];
let theme = "system";
try { theme = THEMES.includes(localStorage.theme) ? localStorage.theme : "system"; } catch { /* not allowed: the system's */ }
function themed() {
	document.documentElement.dataset.theme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
	put($("theme"), "Theme: " + theme);
	if (last) draw(true);
}
$("theme").addEventListener("click", () => {
	theme = THEMES[(THEMES.indexOf(theme) + 1) % 3];
	try { localStorage.theme = theme; } catch { /* for this time */ }
	themed();
});
dark.addEventListener("change", themed);
themed();
ask();
})();

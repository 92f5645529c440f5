-- SPDX-License-Identifier: MIT
--
-- The highest rate without loss, in the manner of RFC 2544, section 26.1: trials of equal length, the rate halved
-- between the last that lost nothing and the last that lost, and a long one to confirm.  For Pktgen-DPDK.
--
-- A server of kcpgate sends nothing back that could be counted against what it was sent, so the other end is asked:
-- COUNTERS is a command that prints what perf/pktgen/counters prints on the gateway.  A trial is without loss when as
-- many packets of tunnels were received as were sent, and none found a ring or the packet buffers full.  The former is
-- what counts: of packets lost before the gateway's port no counter of the gateway's knows, so they are told apart, as
-- "missing" and "no room".
--
-- Rates are told in packets/s as they were sent, not in Pktgen's percent: what that means for a capture has changed
-- between its releases.  Not to be loaded by itself: single-flow.lua and many-flows.lua set what is asked here.

local S = SETTINGS
local port = S.port or "0"

local function say(...)
	print(string.format(...))
	if S.file then
		S.file:write(string.format(...), "\n")
		S.file:flush()
	end
end

local function counters()
	local pipe = assert(io.popen(S.counters))
	local line = pipe:read("a") or ""
	pipe:close()
	local received, lost = line:match("received (%d+) lost (%d+)")
	assert(received, "no counters from: " .. S.counters)
	return tonumber(received), tonumber(lost)
end

-- Packets that Pktgen has sent.  Until 25 portStats asks what of a port is wanted; 26.02 takes the port alone, refuses
-- more, and has the counters one table deeper.
local function opackets()
	local ok, stats = pcall(pktgen.portStats, port, "port")
	if not ok then
		stats = pktgen.portStats(port)
	end
	stats = stats[tonumber(port)]
	return (stats.curr or stats).opackets
end

-- What a trial of `ms` milliseconds at `rate` percent sent, and what of that did not arrive.
local function trial(rate, ms)
	pktgen.set(port, "rate", rate)
	local received, lost = counters()
	local sent = opackets()

	pktgen.start(port)
	pktgen.delay(ms)
	pktgen.stop(port)
	pktgen.delay(S.pause)
	sent = opackets() - sent
	local received2, lost2 = counters()
	received = received2 - received
	lost = lost2 - lost
	say("%8.4f %% %12.0f packets/s: sent %d, received %d, no room %d, missing %d", rate, sent * 1000 / ms, sent, received,
		lost, sent - received - lost)
	return sent, sent - received, lost
end

local function lossless(rate, ms)
	local sent, missing, lost = trial(rate, ms)
	assert(sent > 0, "nothing was sent: is the capture loaded (-s " .. port .. ":FILE)?")
	return missing <= 0 and lost == 0, sent * 1000 / ms
end

local function search()
	local low, high, rate = 0, 100, S.first

	for _ = 1, S.trials do
		if lossless(rate, S.trial) then
			low = rate
		else
			high = rate
		end
		if high - low < S.resolution then
			break
		end
		rate = (low + high) / 2
	end
	for _ = 1, 5 do
		if low == 0 then
			break
		end
		local ok, pps = lossless(low, S.confirm)
		if ok then
			return low, pps
		end
		low = low * 0.98 -- what held for a trial did not hold for longer
	end
	return 0, 0
end

pktgen.screen("off")
pktgen.stop(port)
pktgen.set(port, "count", 0) -- until it is stopped
pktgen.set(port, "burst", S.burst)
pktgen.pcap(port, "on")
pktgen.delay(1000)
say("%s", S.title)
local rate, pps = search()
say("without loss: %.4f %%, %.0f packets/s", rate, pps)
pktgen.pcap(port, "off")
if S.file then
	S.file:close()
end

-- SPDX-License-Identifier: MIT
--
-- The highest rate without loss of one flow: one session, so one queue and one worker whatever the gateway has.
--
-- 1. The gateway, on its own host and NIC (kcpgate -c FILE, exception = "tap"), with a server tunnel on port 4000:
--      key = "pktgen"; crypt = "aes-128-gcm"; datashard = 0; parityshard = 0; nocomp = true; listen = ":4000";
--      target = "127.0.0.1:9000";   (anything that reads, such as: socat -u TCP-LISTEN:9000,fork /dev/null)
-- 2. The capture, with the MAC addresses of both NICs and an address of the gateway's:
--      kcpgate-mkpcap --sessions 1 --packets 2048 --crypt aes-128-gcm --key pktgen --datashard 0 --parityshard 0 --nocomp \
--        --length 1350 --smac SENDER --dmac GATEWAY --dst 198.19.0.1 --dport 4000 single.pcap
--    The gateway must know the way back: a default route by, or a neighbour entry for, the sender's side.
-- 3. Pktgen-DPDK on the sender, its NIC bound to vfio-pci (dpdk-devbind.py -b vfio-pci 0000:03:00.0), core 1 receives
--    and core 2 sends on port 0:
--      KCPGATE_PKTGEN=perf/pktgen KCPGATE_COUNTERS="ssh GATEWAY /path/to/perf/pktgen/counters kcpgate" \
--        pktgen -l 0-2 -a 0000:03:00.0 -- -P -m "[1:2].0" -s 0:single.pcap -f perf/pktgen/single-flow.lua
--
-- Pktgen sends the capture over and over: after the first round every segment is a repeated one, which the gateway
-- opens, looks up and acknowledges, but hands to nobody.  That is what this measures.

SETTINGS = {
	title = "single-flow",
	port = "0",
	counters = os.getenv("KCPGATE_COUNTERS") or "perf/pktgen/counters kcpgate",
	burst = 32,
	first = 100,		-- percent, of the first trial
	trials = 14,		-- at most
	resolution = 0.05,	-- percent, at which the search ends
	trial = 10000,		-- ms
	confirm = 60000,	-- ms, as RFC 2544 asks
	pause = 2000,		-- ms, until what is on its way has arrived
	file = io.open("single-flow.txt", "w"),
}
dofile((os.getenv("KCPGATE_PKTGEN") or ".") .. "/zero-loss.lua")

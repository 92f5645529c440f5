/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * kcptun's SNMP counters, by their names and in their struct order (wire.md 9.7).  A worker holds one block a tunnel
 * and is its only writer; telemetry sums.  EarlyRetransSegs exists in every generation.
 */

#include <stddef.h>
#include <stdint.h>

#define SNMP_LIST(X)           \
	X(BytesSent)           \
	X(BytesReceived)       \
	X(MaxConn)             \
	X(ActiveOpens)         \
	X(PassiveOpens)        \
	X(CurrEstab)           \
	X(InErrs)              \
	X(InCsumErrors)        \
	X(KCPInErrors)         \
	X(InPkts)              \
	X(OutPkts)             \
	X(InSegs)              \
	X(OutSegs)             \
	X(InBytes)             \
	X(OutBytes)            \
	X(RetransSegs)         \
	X(FastRetransSegs)     \
	X(EarlyRetransSegs)    \
	X(LostSegs)            \
	X(RepeatSegs)          \
	X(FECFullShardSet)     \
	X(FECRecovered)        \
	X(FECErrs)             \
	X(FECParityShards)     \
	X(FECShardSet)         \
	X(FECShardMin)         \
	X(RingBufferSndQueue)  \
	X(RingBufferRcvQueue)  \
	X(RingBufferSndBuffer) \
	X(OOBPackets)

/* Counters of 2016 that today's list has no more: FECSegs, every parity packet received. */
#define SNMP_OLD_LIST(X) X(FECSegs)

struct snmp {
#define X(name) uint64_t name;
	SNMP_LIST(X)
	SNMP_OLD_LIST(X)
#undef X
};

#define SNMP_ALL   (sizeof(struct snmp) / sizeof(uint64_t))
#define SNMP_COUNT (offsetof(struct snmp, FECSegs) / sizeof(uint64_t)) /* of today's list: the first ones */

/* Name of the i-th counter in struct order, i < SNMP_ALL. */
const char *snmp_name(unsigned i);

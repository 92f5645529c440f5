/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What KCP_CONGESTION_AUTO knows of the path: for struct kcp, which holds it, for timed.c, which says what was lost,
 * for cc_tell.c, which finds out, and for cc_auto.c, which says how much may leave.  Bytes are those of segments with
 * their headers; a rate is bytes a microsecond.  Counts of bytes and the times kept in segments wrap; only differences
 * are looked at.
 */

#include <stdbool.h>
#include <stdint.h>

/* The greatest of a value's samples within a window of rounds, by its three best candidates (K. Nichols' filter). */
struct kcp_best {
	struct {
		uint32_t round;
		float v;
	} s[3];
};

enum kcp_model_state { KCP_MODEL_STARTUP, KCP_MODEL_DRAIN, KCP_MODEL_CRUISE, KCP_MODEL_PROBE_RTT };

/* What is delivered says nothing of the path, for what limits is: */
#define KCP_LIMITED_APP	   1
#define KCP_LIMITED_WINDOW 2 /* the peer's, or ours */
#define KCP_LIMITED_STREAM 4 /* the peer, above KCP */

/* What is asked of a path that loses without a queue (cc_police.c). */
struct kcp_police {
	float part;	    /* of a cycle that was lost */
	uint32_t from, to;  /* us: of what is sent from here to there each segment's fate is counted */
	uint32_t got, lost; /* these segments; before, bytes of a cycle */
	float rate,
		first;	/* bytes a microsecond, parity included: what is let through, and what was thought at first */
	uint32_t round; /* when to go on */
	uint32_t hold;	/* when to look for more */
	uint8_t state;	/* of cc_police.c */
	uint8_t cuts;	/* one after the other; before, probes that were judged */
};

struct kcp_model {
	uint64_t us; /* the latest time that this session was told */
	/* the flight */
	uint32_t flight;    /* bytes transmitted, neither acknowledged nor taken for lost */
	uint32_t delivered; /* bytes acknowledged, cumulative */
	uint64_t delivered_us;
	uint64_t sent_us;      /* last transmission of a segment */
	uint32_t first_us;     /* when what was acknowledged last had been sent */
	uint32_t rack_us;      /* of all that were acknowledged: when the one sent last was, */
	uint64_t rack_at;      /* and when that was learnt */
	uint64_t reorder_at;   /* a segment sent before that one is taken for lost then; UINT64_MAX: there is none */
	uint32_t reorder_mult; /* of the reordering window */
	uint32_t reorder_round;
	uint32_t hole;	  /* what una was last said to be */
	uint16_t batch;	  /* datagrams of a group with its parity; 0: there is none */
	float parity;	  /* packets for each of data; */
	float parity_was; /* before */
	uint32_t parity_us;
	uint32_t batch_us;    /* what is made good by parity comes so much later */
	uint8_t hits;	      /* losses since hits_from */
	uint32_t hits_from;   /* round */
	uint32_t flush_from;  /* the first that this flush may send */
	uint32_t lossy_until; /* round: something was lost not long before that */
	uint16_t probes;      /* into the silence, since something was acknowledged */
	bool probe;	      /* one segment may leave whatever is in flight */
	bool silent;	      /* there was a silence before this datagram */
	bool news;	      /* this datagram has acknowledged something */
	bool started;	      /* something has been acknowledged */
	uint8_t state;	      /* enum kcp_model_state */
	uint8_t phase;	      /* of KCP_MODEL_CRUISE */
	uint8_t flat;	      /* rounds without growth, in KCP_MODEL_STARTUP */
	bool wary;	      /* a queue seems to begin, in KCP_MODEL_STARTUP: for a while */
	bool full;	      /* the path's rate has been found, */
	bool grown;	      /* and a probe has found more than that */
	bool maybe_lossy;     /* the round before lost something in KCP_MODEL_STARTUP */
	bool blocked;	      /* in this round a window was full of what waits for a hole, */
	bool was_blocked;     /* in the one before */
	uint8_t vain : 4;     /* brakes, one after the other */
	uint8_t held : 4;     /* rounds without growth in KCP_MODEL_STARTUP, for a window was full */
	/* the sample of this datagram: of what it acknowledged, that which was sent last */
	struct {
		uint32_t sent_us, had, had_us, first_us;
		bool any;
		uint8_t limited;
	} best;
	uint32_t limited_until; /* samples sent before so much was delivered were limited by something else than the
				   path */
	uint8_t limited;	/* KCP_LIMITED_* */
	/* the model */
	struct kcp_best rate;  /* of delivery, with the parity that it takes */
	struct kcp_best extra; /* bytes acknowledged beyond it at once */
	float spared;	       /* the part that arrives when we send least: what is lost then is not our doing */
	float phase_spared;    /* the same, being looked at; negative: it is not */
	float round_spared;    /* the part of the last round that arrived */
	float full_rate;
	float full_spared; /* the part that arrived of KCP_MODEL_STARTUP's best round */
	float probe_rate;  /* when the last probe began, */
	float probe_gain;  /* and how much more it sends */
	float round_rate;  /* the best sample of this round */
	float pace;	   /* bytes a microsecond that leave; 0: not yet decided */
	uint64_t until;	   /* wary, or in KCP_MODEL_PROBE_RTT */
	uint64_t min_rtt_at;
	uint32_t min_rtt;	      /* us; UINT32_MAX: no sample */
	uint32_t round_rtt;	      /* us: the least of this round */
	uint32_t early_rtt;	      /* us: the least since early_at, */
	uint32_t early_seen, early_n; /* of so many that were seen, among so many segments */
	uint32_t now_us;	      /* what it showed the last time: the queue */
	uint64_t early_at;
	uint32_t early_had; /* delivered then */
	float brake;	    /* bytes of segments a microsecond that came through a long queue; 0: there is none */
	uint32_t brake_had;
	uint32_t brake_us;	/* the queue that it began with */
	uint64_t foreign_until; /* the queue does not drain when we hold back: others make it */
	uint32_t seen_rtt;	/* us: the least since KCP_MODEL_PROBE_RTT began */
	uint32_t queue_us;	/* what the last round's least had above min_rtt */
	uint32_t round;
	uint32_t full_round; /* when the startup ended */
	uint32_t round_end;  /* a round ends when what was sent after so much was delivered is acknowledged */
	uint32_t round_had;  /* delivered when it began */
	uint32_t lost;	     /* bytes taken for lost in this round */
	uint32_t cwnd;	     /* bytes that may be in flight */
	uint32_t seen;	     /* delivered before this datagram */
	uint32_t epoch_had;  /* delivered when the present run of acknowledgements began, */
	uint64_t epoch_us;   /* and when that was */
	uint64_t phase_at;
	/* counters */
	uint32_t lossy_rounds, blocked_rounds;
	uint32_t segs, round_segs; /* delivered in this round, and in the one before */
	uint64_t needless;	   /* segments that were sent again, and had arrived */
};

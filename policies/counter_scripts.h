// Counter scripts: the Redis side of counters.
//
// The visible integer is the data key. The side key is one hash: `inc` incarnation, `n` changes and `t` sum of the
// increments since it began, `base` a SET that SQL does not know yet and `retired` the incarnations it replaces, `late`
// when SQL got something older meanwhile, `r` the incarnation last read for a flush, `f` time of the last flush, `L`
// token:deadline of whoever loads it from SQL. Dirty counters are in a sorted set, scored by the time they became so.
// Numbers travel as text: Lua's are doubles.
#pragma once

#include "policies/script.h"

namespace sluice::policies::counters {

// KEYS data, side, dirty; ARGV delta, token, lease_ms. The new value, or {SEED, inc, n}: load it first, or {WAIT, ms}:
// somebody does. Errors are those of INCRBY.
const Script& add();

// KEYS data, side; ARGV token, lease_ms. {HIT, value}, or as add().
const Script& load();

// KEYS data, side; ARGV token, inc as SEED told it, a new incarnation, base ('': give up), idle_ms.
// OK, or LOST: the lease is not ours any more, begin again.
const Script& seed();

// KEYS data, side, dirty; ARGV value, a new incarnation. Always OK.
const Script& set();

// KEYS sides. {now, {inc, n, t, base, retired}, ...}.
const Script& read();

// KEYS data, side, dirty; ARGV inc ('': there was no side key), n, change made in SQL, had a base (1 or 0), when it was
// read, idle_ms. After a flush: 1 when the counter is clean now.
const Script& clean();

}  // namespace sluice::policies::counters

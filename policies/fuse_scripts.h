// Fuse scripts: the Redis side of write-through and of fills. Each runs on KEYS = data key, side key, and on several
// such pairs in one call (Script::batch); ARGV and replies below are those of one pair.
//
// The side key is one hash: `a:<token>` = deadline:taint:expiry:fused for every write under way (an arm), `L` =
// token:deadline of the fill that may store, `N` = deadline of "SQL has no such row", `V` = versions of the tables that
// the copy or N was made of (tables.h), `E` = end of a copy that cannot be renewed beyond it, as its row ends then.
// Times are Redis' own, in ms.
#pragma once

#include "policies/script.h"

namespace sluice::policies::fuse {

// ARGV token, table (its version_name; '' for none), arm_ms, fuse_ms, type that the key must have ('' for any).
// Announces a write: shortens the life of the cached copy to the fuse, taints every write that overlaps, drops lease
// and negative marker, raises the table's version and gives it an arm.
// 1: alone, 0: overlapping, or WRONGTYPE with nothing changed.
const Script& arm();

// ARGV token, table, what, ttl option, ttl_ms, complete (1 or 0), payload. Ends a committed write: raises the table's
// version and takes its arm away. What becomes of the copy:
// SET stores the payload, with the ttl option '', PX, PXAT or KEEP (the expiry it had; ttl_ms if it had none to keep);
// HSET merges the payload into a copy that is there, keeping its expiry, or makes one when `complete`; HDEL removes the
// fields named; EXPIRE gives it the expiry ttl_ms (Unix time; -1: none); DEL drops it.
// 1: done as asked, 0: overlapped, the copy was dropped instead.
const Script& apply();

// ARGV token, table, ttl_ms (0: none). Ends a write that changed nothing: the copy gets its expiry back, the table's
// arm goes.
const Script& abort();

// ARGV token, lease_ms (0: none is wanted), kind: S or H the value, F the fields that follow, E whether it is there.
// {HIT, value, 0, ms}, {NEG}, {WAIT, ms}, {LEASE, '', '', end} or {NONE}; ms: the life that the copy has left, -1: it
// has no end, or not one that a refresh may change. Kind R with a number of ms is a refresh: {NO} when more than that
// is left, or nothing is to be renewed; the end that LEASE tells is what RENEW is given.
const Script& lease();

// ARGV token, lease_ms, version_names() of tables, kind and fields. The same for what depends on tables: drops what
// was made of other versions. {WAIT, ms, stale} and {LEASE, versions, stale, end} say whether there was such (1 or 0).
const Script& lease_checked();

// ARGV token, kind, what (VALUE, ABSENT or NONE), ttl_ms (0: none), fuse_ms, when the row's own time is over and the
// ttl_ms of ABSENT ('<Unix time> <ms>'; '': never), payload. Ends every SQL read. A refresh says 'VALUE <end>' or
// 'ABSENT <end>': the copy is replaced if it still has that end and the lease is ours.
// {PRESENT, value}: answer that one; {STORED}; {REFUSED}: not stored; {EXPIRED, 1 or 0}: answer that there is none,
// and whether nobody else has been told otherwise meanwhile.
const Script& fill();

// The same with version_names() of tables and the versions that the lease told before the payload: is stored if they
// are the same.
const Script& fill_checked();

// ARGV '', mode (PX, PXAT, PERSIST or '' to read only), ms, conditions (letters of N, X, G, L), kind (S: the value is
// wanted). Changes the expiry of the copy; while a write is under way the one that the write will give back.
// {1}, {0} (nothing to change) or {-1} (there is no copy), and the value.
const Script& expire();

// No ARGV, or a token and a table, whose version is raised. Drops copy, lease and negative marker; what is being
// written or filled will not be stored. Copies dropped.
const Script& inval();

}  // namespace sluice::policies::fuse

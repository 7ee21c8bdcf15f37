// A server's end of a device's push chain: what a store keeps per device and site, and what the next token means.
// docs/protocol.md, "Pushing".
#pragma once

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "sync/store.h"

namespace rejoin::sync {

// What a store knows of a device's chain.
struct Chain {
  uint64_t counter = 0;
  Bytes token;  // given last
  Bytes nonce;  // of the chunk that was taken last; empty: none
  Bytes reply;  // encode_outcome() of what was said to it
};

enum class Link {
  next,     // the next chunk of the chain, or its first
  repeat,   // the chunk that was taken last, once more
  stale,    // another copy of the file has pushed since, or the site is another device's
  unknown,  // this store never gave the token: it went back in time, or is another one
};

// `known`: nothing when the store has no chain of this device and site. `taken`: another device brought this site.
Link link_of(const Chain* known, bool taken, BytesView token, BytesView nonce);
// Did the store of this chain never give the token?
bool is_unknown(const Chain& known, BytesView token);
// The same as link_of() for a pull, which has no nonce: ok, stale_chain or unknown_chain. An empty token is only
// checked if the file says that it has pushed nothing: then it is an older state of one that has.
Status check_pull(const Chain* known, BytesView token, bool unpushed);

// Why a row is refused (clock_ahead) that brings back a stamp of the store's own which its clock does not admit now.
inline constexpr const char* kOwnStampAhead =
    "it has a stamp that this server gave when its clock was ahead of what it is now, so what was stamped so is not "
    "taken; write it again. What others wrote of the row was taken";

// The errors that stale and unknown are answered with.
Error stale_chain();
Error unknown_chain();

// be64 counter, 8 random bytes. The counter tells an old token (a copied device) from one that this store never gave
// out (this store was restored).
Bytes make_chain_token(Random& random, uint64_t counter);

// At rest, beside the chain: what a repeated push is answered with, and `last`, the newest stamp that the store had
// given or merged then.
Bytes encode_outcome(const ApplyOutcome& outcome, crdt::Hlc last);
ApplyOutcome decode_outcome(BytesView in);
// A store that has this outcome still has everything that it stamped up to here. 0: not known, as while a push is
// staged (it may be one that brings back what an earlier restore lost), or when an older build wrote it.
crdt::Hlc stamped_through(BytesView outcome);

}  // namespace rejoin::sync

// What one file knows of another's past, when they merge without a server (docs/adr/0003-file-identity.md).
#pragma once

#include "sqlite/replica.h"

namespace rejoin::sqlite {

enum class Acquaintance {
  none,       // `reader` has nothing of what `source` wrote
  good,       // what `reader` has read of `source` is all there still; of third files it may have more
  unclear,    // it may have more: it got the other's writes from elsewhere, or the other's log has forgotten that place
  went_back,  // it has read what is not there any more: `source` was put back from a backup
};
// Both must have been folded: a copy has noticed then that it is one.
Result<Acquaintance> acquaintance(Replica& source, Replica& reader);

// `reader` may have lost what it wrote: it reads all of `source` again, its own writes too, also if it is stopped
// before it has begun. How far it had read stays known until then: it tells whether the source went back. Does nothing
// if it is doing so, or has read nothing yet.
Status read_all_again(Replica& reader, const crdt::SiteId& source);

// The name under which a file keeps how far it has read another one (make_device_store).
std::string peer_name(const crdt::SiteId& source);

}  // namespace rejoin::sqlite

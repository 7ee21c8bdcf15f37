// The newest stamp of one site in a frame.
#pragma once

#include "codec/changeset.h"

namespace rejoin::codec {

// 0 when the frame names no stamp of the site, or is damaged.
crdt::Hlc newest_stamp_of(const ChangesetReader& reader, const crdt::SiteId& site);

}  // namespace rejoin::codec

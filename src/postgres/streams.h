// Frames that reach their stream's horizon are merged, others wait until they do.
#pragma once

#include "postgres/merge.h"

namespace rejoin::postgres {

// Queues the question what waits of a source.
void send_stream(Connection& db, const crdt::SiteId& source);

// Merges a frame together with the pages of its stream that waited for it, or stages it. `stream`: what send_stream()
// asked, in this transaction and since the source's last frame. Errors: gap (it continues a page that is not here),
// corrupt, and those of Merge.
Result<sync::ApplyOutcome> apply_frame(Work& work, const codec::ChangesetReader& reader, BytesView frame,
                                       const Rows& stream, const MergeOptions& options);

}  // namespace rejoin::postgres

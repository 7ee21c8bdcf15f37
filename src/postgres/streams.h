// Frames that reach their stream's horizon are merged, others wait until they do.
#pragma once

#include "postgres/merge.h"

namespace rejoin::postgres {

// Merges a frame together with the pages of its stream that waited for it, or stages it. Errors: gap (it continues a
// page that is not here), corrupt, and those of Merge.
Result<sync::ApplyOutcome> apply_frame(Work& work, BytesView frame, const MergeOptions& options);

}  // namespace rejoin::postgres

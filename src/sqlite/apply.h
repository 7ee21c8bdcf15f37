// Applying frames: verified, staged until their stream is whole, merged in one transaction.
#pragma once

#include "sqlite/context.h"
#include "sqlite/replica.h"

namespace rejoin::sqlite {

Result<sync::ApplyOutcome> apply(Context& ctx, BytesView frame, const ApplyOptions& options);
// The same inside the caller's transaction (a store that must move a cursor or a chain with it).
Result<sync::ApplyOutcome> apply_in(Work& work, BytesView frame, const ApplyOptions& options);

}  // namespace rejoin::sqlite

// rejoin_rejections: rows that a server did not take, one line each, until they are written again or taken.
#pragma once

#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

Status note_rejections(Context& ctx, const std::vector<sync::RefusedRow>& rows);

}  // namespace rejoin::sqlite

// The release that this source builds.
#pragma once

namespace rejoin {
inline constexpr const char* kVersion = "0.1.0";
}

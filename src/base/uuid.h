// Canonical UUID text (RFC 9562: 36 characters, lower case) to 16 bytes and back, and version 7.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace rejoin {

// Packs canonical lower-case UUID text into out[0..16). False, and `out` is unspecified, for any other text.
bool uuid_pack(std::string_view text, char* out);
// Writes the 36 characters of the 16 bytes at `bytes`.
void uuid_unpack(const char* bytes, char* text);
std::string uuid_text(BytesView sixteen);
// A version 7 UUID (RFC 9562 section 5.7): 48 bits of milliseconds, 74 random bits taken from `random_bytes` (at least
// 10 bytes).
std::string uuid_v7(int64_t now_ms, BytesView random_bytes);

}  // namespace rejoin

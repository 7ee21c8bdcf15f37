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

// UUIDs of version 7 in ascending order, also within a millisecond and when the clock steps back (RFC 9562, 6.2, method
// 1: the 12 bits after the version count). Not thread-safe.
class UuidSequence {
 public:
  // `random_bytes`: 10, fresh for each.
  std::string next(int64_t now_ms, BytesView random_bytes);

 private:
  int64_t last_ms_ = 0;
  uint32_t counter_ = 0;
};

}  // namespace rejoin

// Hostile cursors. Input: a cursor; read as it is, and once more with its check put right. One that decodes must encode
// to the same bytes.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>

#include "codec/cursor.h"

namespace {

void try_cursor(rejoin::BytesView in) {
  auto cursor = rejoin::codec::decode_cursor(in);
  if (cursor && !in.empty() && rejoin::codec::encode_cursor(*cursor) != in) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rejoin::BytesView input(reinterpret_cast<const char*>(data), size);
  try_cursor(input);
  if (size < 4) return 0;
  rejoin::Bytes fixed(input.substr(0, size - 4));
  rejoin::Bytes check;
  rejoin::put_be64(check, XXH3_64bits(fixed.data(), fixed.size()));
  try_cursor(fixed + check.substr(4));
  return 0;
}

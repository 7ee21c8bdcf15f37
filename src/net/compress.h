// zstd for HTTP bodies (RFC 8878, RFC 9659).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace rejoin::net {

// Never fails for inputs that fit into memory.
Bytes zstd_compress(BytesView in, int level = 3);

// Errors: corrupt for damaged or truncated input, too_large when more than `max_bytes` come out. Memory stays near
// `max_bytes` whatever the input claims: output grows as it appears, and windows above 8 MiB (the limit of RFC 9659)
// are refused.
Result<Bytes> zstd_decompress(BytesView in, uint64_t max_bytes);

}  // namespace rejoin::net

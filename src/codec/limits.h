// What a decoder accepts from a peer. Every limit has a default that ordinary use never meets.
#pragma once

#include <cstdint>

namespace rejoin::codec {

struct Limits {
  uint64_t frame_bytes = 256ull << 20;
  uint64_t value_bytes =
      64ull << 20;              // one text or blob; a larger one refuses its row, not the frame (see ApplyOptions)
  uint64_t rows = 16ull << 20;  // rows of one frame
  uint32_t tables = 4096;
  uint32_t columns = 32768;  // of one table
  uint32_t sites = 1 << 20;
  uint32_t name_bytes = 4096;
};

}  // namespace rejoin::codec

// What lost: values that a merge overwrote or turned away, kept for rejoin_explain. Diagnostics, bounded, never merged.
#pragma once

#include "crdt/record.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

inline constexpr int kLostPerMerge = 128;
inline constexpr int kLostKept = 10'000;

class LostLog {
 public:
  explicit LostLog(Context& ctx) : ctx_(ctx) {}
  bool has_room() const { return noted_ < kLostPerMerge; }
  Status note(const Table& table, BytesView key, uint32_t column, crdt::Stamp stamp, const crdt::ValueRef& value);
  // Forgets the oldest beyond kLostKept.
  Status trim();

 private:
  Context& ctx_;
  int noted_ = 0;
};

}  // namespace rejoin::sqlite

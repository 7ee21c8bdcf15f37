// Byte strings, and the little that every format needs: fixed-width integers, LEB128 varints, zigzag, hexadecimal.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace rejoin {

using Bytes = std::string;
using BytesView = std::string_view;

inline void put_u8(Bytes& out, uint8_t v) { out.push_back(static_cast<char>(v)); }

// Unsigned LEB128, at most 10 bytes, always the shortest form.
inline void put_varint(Bytes& out, uint64_t v) {
  char buffer[10];
  size_t n = 0;
  while (v >= 0x80) {
    buffer[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  buffer[n++] = static_cast<char>(v);
  out.append(buffer, n);
}

inline uint64_t zigzag(int64_t v) { return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63); }
inline int64_t unzigzag(uint64_t v) { return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1); }

inline void put_be64(Bytes& out, uint64_t v) {
  char buffer[8];
  for (int i = 0; i < 8; ++i) buffer[i] = static_cast<char>(v >> (56 - 8 * i));
  out.append(buffer, 8);
}

inline uint64_t load_be64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}

// A varint-length-prefixed byte string.
inline void put_bytes(Bytes& out, BytesView v) {
  put_varint(out, v.size());
  out.append(v);
}

// Reads from hostile bytes. The first failure sticks: later reads give zero or empty, `ok()` stays false, nothing is
// read past the end.
class ByteReader {
 public:
  explicit ByteReader(BytesView in) : p_(in.data()), end_(in.data() + in.size()) {}
  bool ok() const { return ok_; }
  bool at_end() const { return p_ == end_; }
  size_t left() const { return static_cast<size_t>(end_ - p_); }
  const char* position() const { return p_; }
  void fail() { ok_ = false, p_ = end_; }

  uint8_t u8() {
    if (p_ == end_) return fail(), 0;
    return static_cast<uint8_t>(*p_++);
  }
  uint64_t varint() {
    if (p_ != end_ && !(*p_ & 0x80)) return static_cast<uint8_t>(*p_++);
    return varint_slow();
  }
  int64_t signed_varint() { return unzigzag(varint()); }
  uint64_t be64() {
    if (left() < 8) return fail(), 0;
    uint64_t v = load_be64(p_);
    p_ += 8;
    return v;
  }
  BytesView take(uint64_t n) {
    if (n > left()) return fail(), BytesView();
    BytesView v(p_, n);
    p_ += n;
    return v;
  }
  BytesView bytes() { return take(varint()); }
  // A count of things that take at least `least` bytes each: refuses one that the rest cannot hold, so that no count
  // can ask for memory.
  uint64_t count(uint64_t least = 1) {
    uint64_t n = varint();
    if (n > left() / (least ? least : 1)) return fail(), 0;
    return n;
  }

 private:
  uint64_t varint_slow();
  const char* p_;
  const char* end_;
  bool ok_ = true;
};

std::string to_hex(BytesView bytes);
// Accepts both cases; nothing for an odd length or a foreign character.
std::optional<Bytes> from_hex(std::string_view hex);

}  // namespace rejoin

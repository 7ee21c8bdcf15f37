// An append-only byte buffer whose appends compile to a few instructions; the writer's hot loop lives on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/bytes.h"

namespace rejoin::codec {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& o) noexcept
      : begin_(std::exchange(o.begin_, nullptr)),
        p_(std::exchange(o.p_, nullptr)),
        end_(std::exchange(o.end_, nullptr)) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() { std::free(begin_); }

  size_t size() const { return static_cast<size_t>(p_ - begin_); }
  bool empty() const { return size() == 0; }
  BytesView view() const { return BytesView(begin_, size()); }
  void clear() { p_ = begin_; }

  void u8(uint8_t v) {
    need(1);
    *p_++ = static_cast<char>(v);
  }
  // Returns how many bytes that took.
  size_t varint(uint64_t v) {
    need(10);
    if (v < 0x80) {
      *p_++ = static_cast<char>(v);
      return 1;
    }
    char* start = p_;
    do {
      *p_++ = static_cast<char>(v | 0x80);
      v >>= 7;
    } while (v >= 0x80);
    *p_++ = static_cast<char>(v);
    return static_cast<size_t>(p_ - start);
  }
  void be64(uint64_t v) {
    need(8);
    v = __builtin_bswap64(v);
    std::memcpy(p_, &v, 8);
    p_ += 8;
  }
  // Sixteen bytes without a call.
  void sixteen(const char* from) {
    need(16);
    std::memcpy(p_, from, 16);
    p_ += 16;
  }
  void append(BytesView v) {
    if (v.empty()) return;
    need(v.size());
    std::memcpy(p_, v.data(), v.size());
    p_ += v.size();
  }

 private:
  void need(size_t n) {
    if (static_cast<size_t>(end_ - p_) < n) [[unlikely]]
      grow(n);
  }
  // realloc moves large buffers by page tables instead of copying them.
  [[gnu::noinline]] void grow(size_t n) {
    size_t used = size(), capacity = std::max({static_cast<size_t>(end_ - begin_) * 2, used + n, size_t{32}});
    auto* bigger = static_cast<char*>(std::realloc(begin_, capacity));
    if (!bigger) throw std::bad_alloc();  // as every container here does
    begin_ = bigger, p_ = bigger + used, end_ = bigger + capacity;
  }
  char* begin_ = nullptr;
  char* p_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace rejoin::codec

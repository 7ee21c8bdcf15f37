// A set of column ids. The first 64 live inline, so that ordinary tables never allocate; SQLite allows up to 32,767.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace rejoin::crdt {

class ColumnSet {
 public:
  static constexpr uint32_t kMaxColumns = 32768;

  ColumnSet() = default;
  ColumnSet(const ColumnSet& o) : low_(o.low_) {
    if (o.high_) assign_high(o);
  }
  ColumnSet(ColumnSet&& o) noexcept : low_(std::exchange(o.low_, 0)), high_(std::move(o.high_)) {}
  ColumnSet& operator=(const ColumnSet& o) {
    low_ = o.low_;
    if (high_ || o.high_) assign_high(o);
    return *this;
  }
  ColumnSet& operator=(ColumnSet&& o) noexcept {
    low_ = std::exchange(o.low_, 0), high_ = std::move(o.high_);
    return *this;
  }
  // {0, 1, ..., n-1}
  static ColumnSet first(uint32_t n) {
    if (n < 64) return of_bits((uint64_t{1} << n) - 1);
    return first_high(n);
  }
  static ColumnSet of_bits(uint64_t low) {
    ColumnSet s;
    s.low_ = low;
    return s;
  }
  static ColumnSet of(uint32_t column) {
    ColumnSet s;
    s.add(column);
    return s;
  }
  // `column` is below kMaxColumns: whoever reads columns from outside checks that.
  void add(uint32_t column) {
    if (column < 64)
      low_ |= uint64_t{1} << column;
    else
      add_high(column);
  }
  void remove(uint32_t column) {
    if (column < 64)
      low_ &= ~(uint64_t{1} << column);
    else if (high_)
      remove_high(column);
  }
  bool has(uint32_t column) const {
    if (column < 64) return low_ >> column & 1;
    return high_ && (word(column / 64) >> (column % 64) & 1);
  }
  bool empty() const { return low_ == 0 && !high_; }
  uint32_t count() const {
    auto n = static_cast<uint32_t>(std::popcount(low_));
    return high_ ? n + count_high() : n;
  }
  // The smallest member; kMaxColumns when empty.
  uint32_t smallest() const {
    if (low_) return static_cast<uint32_t>(std::countr_zero(low_));
    return high_ ? smallest_high() : kMaxColumns;
  }
  // The largest member plus one; 0 when empty.
  uint32_t end() const {
    if (high_) return end_high();
    return static_cast<uint32_t>(std::bit_width(low_));
  }
  void clear() {
    low_ = 0;
    if (high_) high_.reset();
  }
  // 64 columns at a time; word 0 holds columns 0..63. Words past `words()` are zero.
  uint64_t word(size_t i) const {
    if (i == 0) return low_;
    return high_ && i - 1 < high_->size() ? (*high_)[i - 1] : 0;
  }
  // No member beyond 63: word(0) is all there is.
  bool narrow() const { return !high_; }
  size_t words() const { return 1 + (high_ ? high_->size() : 0); }
  void set_word(size_t i, uint64_t bits) {
    if (i == 0)
      low_ = bits;
    else
      set_high_word(i, bits);
  }

  ColumnSet& operator|=(const ColumnSet& o) {
    low_ |= o.low_;
    if (o.high_) or_high(o);
    return *this;
  }
  ColumnSet& operator&=(const ColumnSet& o) {
    low_ &= o.low_;
    if (high_) and_high(o);
    return *this;
  }
  // Removes the members of `o`.
  ColumnSet& operator-=(const ColumnSet& o) {
    low_ &= ~o.low_;
    if (high_ && o.high_) minus_high(o);
    return *this;
  }
  bool intersects(const ColumnSet& o) const { return (low_ & o.low_) != 0 || (high_ && o.high_ && intersects_high(o)); }
  bool contains(const ColumnSet& o) const { return (o.low_ & ~low_) == 0 && (!o.high_ || contains_high(o)); }
  friend bool operator==(const ColumnSet& a, const ColumnSet& b) {
    return a.low_ == b.low_ && ((!a.high_ && !b.high_) || (a.high_ && b.high_ && *a.high_ == *b.high_));
  }
  // Some total order, for containers; says nothing about the sets.
  friend bool operator<(const ColumnSet& a, const ColumnSet& b) {
    if (a.low_ != b.low_) return a.low_ < b.low_;
    if (!a.high_ || !b.high_) return !a.high_ && b.high_;
    return *a.high_ < *b.high_;
  }

  // Calls f(column) in ascending order.
  template <class F>
  void each(F&& f) const {
    for (size_t i = 0, n = words(); i < n; ++i)
      for (uint64_t w = word(i); w; w &= w - 1)
        f(static_cast<uint32_t>(64 * i) + static_cast<uint32_t>(std::countr_zero(w)));
  }

 private:
  static ColumnSet first_high(uint32_t n);
  void assign_high(const ColumnSet& o);
  void add_high(uint32_t column);
  void remove_high(uint32_t column);
  void set_high_word(size_t i, uint64_t bits);
  uint32_t count_high() const;
  uint32_t smallest_high() const;
  uint32_t end_high() const;
  void or_high(const ColumnSet& o);
  void and_high(const ColumnSet& o);
  void minus_high(const ColumnSet& o);
  bool intersects_high(const ColumnSet& o) const;
  bool contains_high(const ColumnSet& o) const;
  void trim();

  uint64_t low_ = 0;
  // Columns from 64 on. Null, or not empty and without a zero word at its end: equal sets look equal. A pointer,
  // because sets are copied for every row and nearly none of them has a 65th column.
  std::unique_ptr<std::vector<uint64_t>> high_;
};

}  // namespace rejoin::crdt

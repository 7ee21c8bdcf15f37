#include "crdt/column_set.h"

#include <algorithm>

namespace rejoin::crdt {

ColumnSet ColumnSet::first_high(uint32_t n) {
  ColumnSet s = of_bits(~uint64_t{0});
  if (n == 64) return s;
  s.high_ = std::make_unique<std::vector<uint64_t>>(n / 64 - 1, ~uint64_t{0});
  if (n % 64) s.high_->push_back((uint64_t{1} << (n % 64)) - 1);
  return s;
}

void ColumnSet::assign_high(const ColumnSet& o) {
  if (!o.high_)
    high_.reset();
  else if (!high_)
    high_ = std::make_unique<std::vector<uint64_t>>(*o.high_);
  else
    *high_ = *o.high_;
}

void ColumnSet::trim() {
  while (!high_->empty() && high_->back() == 0) high_->pop_back();
  if (high_->empty()) high_.reset();
}

void ColumnSet::add_high(uint32_t column) {
  set_high_word(column / 64, word(column / 64) | uint64_t{1} << (column % 64));
}

void ColumnSet::remove_high(uint32_t column) {
  set_high_word(column / 64, word(column / 64) & ~(uint64_t{1} << (column % 64)));
}

void ColumnSet::set_high_word(size_t i, uint64_t bits) {
  if (i >= words()) {
    if (bits == 0) return;
    if (!high_) high_ = std::make_unique<std::vector<uint64_t>>();
    high_->resize(i);
  }
  (*high_)[i - 1] = bits;
  if (bits == 0) trim();
}

uint32_t ColumnSet::count_high() const {
  uint32_t n = 0;
  for (uint64_t w : *high_) n += static_cast<uint32_t>(std::popcount(w));
  return n;
}

uint32_t ColumnSet::smallest_high() const {
  size_t i = 0;
  while ((*high_)[i] == 0) ++i;
  return static_cast<uint32_t>(64 * (i + 1)) + static_cast<uint32_t>(std::countr_zero((*high_)[i]));
}

uint32_t ColumnSet::end_high() const {
  return static_cast<uint32_t>(64 * high_->size()) + static_cast<uint32_t>(std::bit_width(high_->back()));
}

void ColumnSet::or_high(const ColumnSet& o) {
  if (!high_) high_ = std::make_unique<std::vector<uint64_t>>();
  if (high_->size() < o.high_->size()) high_->resize(o.high_->size());
  for (size_t i = 0; i < o.high_->size(); ++i) (*high_)[i] |= (*o.high_)[i];
}

void ColumnSet::and_high(const ColumnSet& o) {
  for (size_t i = 0; i < high_->size(); ++i) (*high_)[i] &= o.word(i + 1);
  trim();
}

void ColumnSet::minus_high(const ColumnSet& o) {
  for (size_t i = 0; i < high_->size(); ++i) (*high_)[i] &= ~o.word(i + 1);
  trim();
}

bool ColumnSet::intersects_high(const ColumnSet& o) const {
  for (size_t i = 0, n = std::min(high_->size(), o.high_->size()); i < n; ++i)
    if ((*high_)[i] & (*o.high_)[i]) return true;
  return false;
}

bool ColumnSet::contains_high(const ColumnSet& o) const {
  for (size_t i = 0; i < o.high_->size(); ++i)
    if ((*o.high_)[i] & ~word(i + 1)) return false;
  return true;
}

}  // namespace rejoin::crdt

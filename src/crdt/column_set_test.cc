// A ColumnSet is a set of integers, across the border between its inline word and the others.
#include "crdt/column_set.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "crdt/law_generators.h"

namespace rejoin::crdt {
namespace {

using Plain = std::set<uint32_t>;

ColumnSet of(const Plain& plain) {
  ColumnSet set;
  for (uint32_t c : plain) set.add(c);
  return set;
}

Plain plain(const ColumnSet& set) {
  Plain out;
  set.each([&](uint32_t c) { out.insert(out.end(), c); });
  return out;
}

rc::Gen<Plain> columns() {
  return rc::gen::map(law::few(law::column()),
                      [](const std::vector<uint32_t>& v) { return Plain(v.begin(), v.end()); });
}

template <class F>
Plain combine(F&& f, const Plain& a, const Plain& b) {
  Plain out;
  f(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.end()));
  return out;
}
#define COMBINE(algorithm, a, b) combine([](auto... args) { return algorithm(args...); }, a, b)

RC_GTEST_PROP(ColumnSet, AgreesWithAPlainSet, ()) {
  auto a = *columns(), b = *columns();
  ColumnSet sa = of(a), sb = of(b);
  RC_ASSERT(plain(sa) == a);
  RC_ASSERT(plain(ColumnSet(sa) |= sb) == COMBINE(std::set_union, a, b));
  RC_ASSERT(plain(ColumnSet(sa) &= sb) == COMBINE(std::set_intersection, a, b));
  RC_ASSERT(plain(ColumnSet(sa) -= sb) == COMBINE(std::set_difference, a, b));
  // However a set came about, equal sets are equal.
  RC_ASSERT((ColumnSet(sa) -= sb) == of(COMBINE(std::set_difference, a, b)));
  RC_ASSERT((ColumnSet(sa) &= sb) == of(COMBINE(std::set_intersection, a, b)));
  RC_ASSERT(sa.intersects(sb) == !COMBINE(std::set_intersection, a, b).empty());
  RC_ASSERT(sa.contains(sb) == std::includes(a.begin(), a.end(), b.begin(), b.end()));
  RC_ASSERT((sa == sb) == (a == b));
  RC_ASSERT((sa < sb || sb < sa) == (a != b));
  RC_ASSERT(!(sa < sb && sb < sa));
  RC_ASSERT(sa.count() == a.size());
  RC_ASSERT(sa.empty() == a.empty());
  RC_ASSERT(sa.end() == (a.empty() ? 0 : *a.rbegin() + 1));
  RC_ASSERT(sa.smallest() == (a.empty() ? ColumnSet::kMaxColumns : *a.begin()));
  for (uint32_t c : {0u, 4u, 62u, 63u, 64u, 65u, 127u, 128u, 700u, 32767u}) RC_ASSERT(sa.has(c) == a.contains(c));
}

RC_GTEST_PROP(ColumnSet, AddAndRemoveAreInverse, ()) {
  auto a = *columns();
  auto c = *law::column();
  ColumnSet set = of(a);
  set.remove(c);
  a.erase(c);
  RC_ASSERT(set == of(a));
  set.add(c);
  RC_ASSERT(set.has(c));
  set.remove(c);
  RC_ASSERT(set == of(a));
}

RC_GTEST_PROP(ColumnSet, WordsRebuildTheSet, ()) {
  ColumnSet set = of(*columns()), copy = of(*columns());
  size_t n = std::max(set.words(), copy.words());
  for (size_t i = 0; i < n; ++i) copy.set_word(i, set.word(i));
  RC_ASSERT(copy == set);
  RC_ASSERT(set.word(set.words()) == 0u);
  RC_ASSERT(set.words() == 1 || set.word(set.words() - 1) != 0u);
}

RC_GTEST_PROP(ColumnSet, CopiesAreIndependent, ()) {
  ColumnSet a = of(*columns()), b = of(*columns());
  const Plain before = plain(a);
  ColumnSet copy = a;
  copy |= b;
  copy.add(700);
  RC_ASSERT(plain(a) == before);
  copy = a;
  RC_ASSERT(copy == a);
  ColumnSet moved = std::move(copy);
  RC_ASSERT(moved == a);
  b = std::move(moved);
  RC_ASSERT(b == a);
  b.clear();
  RC_ASSERT(b.empty());
  RC_ASSERT(b == ColumnSet());
}

TEST(ColumnSet, FirstHoldsExactlyTheFirstColumns) {
  for (uint32_t n : {0u, 1u, 5u, 62u, 63u, 64u, 65u, 127u, 128u, 129u, 2000u, 32768u}) {
    ColumnSet set = ColumnSet::first(n);
    EXPECT_EQ(set.count(), n);
    EXPECT_EQ(set.end(), n);
    EXPECT_TRUE(n == 0 || (set.has(n - 1) && set.has(0)));
    EXPECT_FALSE(set.has(n));
  }
  EXPECT_EQ(ColumnSet::of(3), ColumnSet::of_bits(8));
}

}  // namespace
}  // namespace rejoin::crdt

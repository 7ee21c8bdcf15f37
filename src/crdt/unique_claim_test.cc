// Who has a UNIQUE value, and which columns are written together: the same whatever the order.
#include "crdt/claim.h"
#include "crdt/column_groups.h"
#include "crdt/law_generators.h"

namespace rejoin::crdt {
namespace {

struct Named {
  Stamp version;
  Bytes key;
  Claim claim() const { return {version, key}; }
};

rc::Gen<std::vector<Named>> claims() {
  return rc::gen::map(law::few(rc::gen::pair(law::stamp_or_bottom(), rc::gen::element<int>(0, 1, 2, 3, 4, 5))),
                      [](const std::vector<std::pair<Stamp, int>>& drawn) {
                        std::vector<Named> out;  // keys are different
                        for (const auto& d : drawn) {
                          const Bytes key(1, static_cast<char>('a' + d.second));
                          if (std::none_of(out.begin(), out.end(), [&](const Named& n) { return n.key == key; }))
                            out.push_back({d.first, key});
                        }
                        return out;
                      });
}

void showValue(const Named& n, std::ostream& out) { out << n.key << "@" << n.version.hlc << "," << n.version.site; }

RC_GTEST_PROP(UniqueClaim, ClaimsOfDifferentRowsAreTotallyOrdered, ()) {
  const std::vector<Named> all = *claims();
  for (const Named& a : all) {
    RC_ASSERT(!precedes(a.claim(), a.claim(), law::sites()));
    for (const Named& b : all) {
      if (a.key == b.key) continue;
      RC_ASSERT(precedes(a.claim(), b.claim(), law::sites()) != precedes(b.claim(), a.claim(), law::sites()));
      for (const Named& c : all)
        if (precedes(a.claim(), b.claim(), law::sites()) && precedes(b.claim(), c.claim(), law::sites()))
          RC_ASSERT(precedes(a.claim(), c.claim(), law::sites()));
    }
  }
}

TEST(UniqueClaim, TheOlderVersionHasItThenTheSmallerKey) {
  const SiteTable& sites = law::sites();
  EXPECT_TRUE(precedes({{2, 0}, "z"}, {{3, 0}, "a"}, sites));
  EXPECT_TRUE(precedes({{2, 1}, "z"}, {{2, 0}, "a"}, sites));  // site 1 is 'a', site 0 is 'm'
  EXPECT_TRUE(precedes({{2, 0}, "a"}, {{2, 0}, "z"}, sites));
}

RC_GTEST_PROP(UniqueClaim, ItsVersionIsTheNewestOfTheIndexesCells, ()) {
  const RowRecord record = *law::record();
  ColumnSet columns;
  for (uint32_t c : *law::few(law::column())) columns.add(c);
  const bool key = *rc::gen::arbitrary<bool>();
  Stamp newest = key ? record.birth : Stamp{};
  columns.each([&](uint32_t c) {
    if (compare(newest, record.stamp_of(c), law::sites()) < 0) newest = record.stamp_of(c);
  });
  RC_ASSERT(compare(claim_version(record, columns, key, law::sites()), newest, law::sites()) == 0);
}

TEST(UniqueClaim, TuplesThatAnIndexTakesForEqualHaveEqualBytes) {
  auto bytes = [](const ValueRef& v, Collation c) {
    Bytes out;
    encode_claimed(v, c, out);
    return out;
  };
  auto text = [](std::string_view s) { return ValueRef::of_text(s); };
  EXPECT_EQ(bytes(ValueRef::of_integer(1), Collation::binary), bytes(ValueRef::of_real(1.0), Collation::binary));
  EXPECT_NE(bytes(ValueRef::of_integer(1), Collation::binary), bytes(ValueRef::of_real(1.5), Collation::binary));
  EXPECT_NE(bytes(ValueRef::of_integer(1), Collation::binary), bytes(text("1"), Collation::binary));
  EXPECT_NE(bytes(text("a"), Collation::binary), bytes(ValueRef::of_blob("a"), Collation::nocase));
  EXPECT_EQ(bytes(text("aÄb"), Collation::nocase), bytes(text("AÄB"), Collation::nocase));
  EXPECT_NE(bytes(text("ä"), Collation::nocase), bytes(text("Ä"), Collation::nocase));
  EXPECT_NE(bytes(text("a"), Collation::binary), bytes(text("A"), Collation::binary));
  EXPECT_EQ(bytes(text("a  "), Collation::rtrim), bytes(text("a"), Collation::rtrim));
  EXPECT_EQ(collation_of("NoCase"), Collation::nocase);
  EXPECT_EQ(collation_of("german"), Collation::other);
}

RC_GTEST_PROP(ColumnGroups, AreTheSameInWhateverOrderTheyAreNamed, ()) {
  const auto sets = *law::few(law::few(law::column(), 3), 5);
  ColumnGroups one, other;
  auto set_of = [](const std::vector<uint32_t>& columns) {
    ColumnSet s;
    for (uint32_t c : columns) s.add(c);
    return s;
  };
  for (auto it = sets.begin(); it != sets.end(); ++it) one.join(set_of(*it));
  for (auto it = sets.rbegin(); it != sets.rend(); ++it) other.join(set_of(*it));
  ColumnSet start = ColumnSet::of(*law::column());
  ColumnSet a = start, b = start;
  one.expand(a), other.expand(b);
  RC_ASSERT(a == b);
  ColumnSet again = a;
  one.expand(again);
  RC_ASSERT(again == a);
  RC_ASSERT(a.contains(start));
  for (const auto& columns : sets)
    if (set_of(columns).intersects(a) && set_of(columns).count() > 1) RC_ASSERT(a.contains(set_of(columns)));
}

}  // namespace
}  // namespace rejoin::crdt

// The laws of docs/algebra.md, section "The row": replicas that have seen the same records show the same row, whatever
// the order.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <random>

#include "crdt/law_generators.h"
#include "crdt/record.h"

namespace rejoin::crdt {
namespace {

using law::joined;
using law::Model;
using law::sites;

// `a` with what is local set as in `b`: the laws are about the rest.
RowRecord hidden_as(RowRecord a, const RowRecord& b) {
  a.hidden = b.hidden;
  return a;
}

// a ⊑ b
bool below(const RowRecord& a, const RowRecord& b) { return joined(b, a) == b; }

RC_GTEST_PROP(ConvergenceLaws, JoinIsCommutative, ()) {
  auto a = *law::record(), b = *law::record();
  RC_ASSERT(hidden_as(joined(a, b), b) == joined(b, a));
}

RC_GTEST_PROP(ConvergenceLaws, JoinIsAssociative, ()) {
  auto a = *law::record(), b = *law::record(), c = *law::record();
  RC_ASSERT(joined(joined(a, b), c) == joined(a, joined(b, c)));
}

RC_GTEST_PROP(ConvergenceLaws, JoinIsIdempotent, ()) {
  auto a = *law::record(), b = *law::record();
  RowRecord mine = a;
  JoinOutcome outcome;
  join(mine, a, sites(), outcome);
  RC_ASSERT(mine == a);
  RC_ASSERT(!outcome.changed());
  join(mine, mine, sites(), outcome);
  RC_ASSERT(mine == a);
  join(mine, b, sites(), outcome);
  RowRecord once = mine;
  join(mine, b, sites(), outcome);
  RC_ASSERT(mine == once);
  RC_ASSERT(!outcome.changed());
}

// A server that takes only a device's own part, and the others' from them, ends with the whole.
RC_GTEST_PROP(ConvergenceLaws, ThePartsOfTheSitesJoinToTheWhole, ()) {
  auto whole = *law::record();
  RowRecord sum;
  for (uint32_t site = 0; site < sites().size(); ++site) {
    RowRecord part = part_of_site(whole, site);
    RC_ASSERT(only_of_site(part, site));
    RC_ASSERT(only_of_site(whole, site) == (part == whole));
    sum = joined(sum, part);
  }
  RC_ASSERT(hidden_as(sum, whole) == whole);
}

RC_GTEST_PROP(ConvergenceLaws, JoinIsAnUpperBoundAndMonotone, ()) {
  auto a = *law::record(), b = *law::record(), c = *law::record();
  RowRecord ab = joined(a, b);
  RC_ASSERT(below(a, ab));
  RC_ASSERT(below(b, ab));
  RC_ASSERT(below(joined(a, c), joined(ab, c)));
  RC_ASSERT(compare(a.live, ab.live, sites()) <= 0);
  RC_ASSERT(compare(a.birth, ab.birth, sites()) <= 0);
  for (const CellGroup& group : a.groups)
    group.columns.each([&](uint32_t column) {
      // A cell only ever rises, unless a newer birth has made it bottom.
      RC_ASSERT(compare(group.stamp, ab.stamp_of(column), sites()) <= 0 ||
                (ab.stamp_of(column).bottom() && compare(group.stamp, ab.birth, sites()) < 0));
    });
}

RC_GTEST_PROP(ConvergenceLaws, JoinIsTheLeastUpperBound, ()) {
  auto a = *law::record(), b = *law::record(), above = *law::record();
  above = joined(joined(above, a), b);
  RC_ASSERT(below(joined(a, b), above));
}

RC_GTEST_PROP(ConvergenceLaws, JoinKeepsRecordsCanonical, ()) {
  auto a = *law::record();
  auto b = *rc::gen::oneOf(law::record(), rc::gen::map(law::loose_record(), [](const law::LooseRecord& loose) {
                             return loose.record();  // what a hostile peer could make of a changeset
                           }));
  RC_ASSERT(law::is_canonical(a));
  RowRecord ab = joined(a, b);
  RC_ASSERT(law::is_canonical(ab));
  RC_ASSERT(Model::of(ab) == (Model::of(a) | Model::of(law::canonical(b))));
}

RC_GTEST_PROP(ConvergenceLaws, ResultIsIndependentOfOrderAndDuplicationOfPartialRecords, ()) {
  auto whole = *law::few(law::record(), 5);
  std::vector<RowRecord> parts;
  for (const RowRecord& r : whole) {
    // A record may arrive in pieces: some columns without life, the life with the other columns.
    auto some = *law::column_set();
    ColumnSet others;
    for (const CellGroup& g : r.groups) others |= g.columns;
    others -= some;
    parts.push_back(restrict_record(r, some, false));
    parts.push_back(restrict_record(r, others, true));
  }
  auto deliver = [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<size_t> order;
    for (size_t i = 0; i < parts.size(); ++i) order.insert(order.end(), 1 + random() % 3, i);
    std::shuffle(order.begin(), order.end(), random);
    RowRecord row;
    for (size_t i : order) row = joined(row, parts[i]);
    return row;
  };
  RowRecord expected;
  for (const RowRecord& r : whole) expected = joined(expected, r);
  RC_ASSERT(deliver(*rc::gen::arbitrary<uint64_t>()) == expected);
  RC_ASSERT(deliver(*rc::gen::arbitrary<uint64_t>()) == expected);
}

void check_outcome(const RowRecord& a, const RowRecord& b) {
  RowRecord ab = a;
  JoinOutcome o;
  o.live_won = o.birth_won = o.live_lost = true;  // a reused outcome
  o.won = o.lost = o.dropped = ColumnSet::first(70);
  join(ab, b, sites(), o);
  Model ma = Model::of(a), mb = Model::of(b), mab = ma | mb;
  RC_ASSERT(Model::of(ab) == mab);
  RC_ASSERT(ab.hidden == a.hidden);
  RC_ASSERT(o.live_won == (mb.live > ma.live));
  RC_ASSERT(o.live_lost == (!b.live.bottom() && mb.live < ma.live));
  RC_ASSERT(o.birth_won == (mb.birth > ma.birth));
  for (uint32_t column = 0; column < 800; ++column) {
    auto mine = ma.at(column), theirs = mb.at(column), now = mab.at(column);
    RC_ASSERT(o.won.has(column) == (theirs > mine && now == theirs));
    RC_ASSERT(o.lost.has(column) == (theirs != Model::Version{} && now != theirs));
    RC_ASSERT(o.dropped.has(column) == (mine != Model::Version{} && now == Model::Version{}));
  }
  RC_ASSERT(o.changed() == !(ma == mab));
}

RC_GTEST_PROP(ConvergenceLaws, OutcomeAgreesWithColumnByColumnOracle, ()) {
  check_outcome(*law::record(), *law::record());
}

RC_GTEST_PROP(ConvergenceLaws, OutcomeAgreesWithOracleForManyGroups, ()) {
  auto a = *law::wide_record(), b = *law::wide_record();
  RC_CLASSIFY(a.groups.size() * b.groups.size() > 1024, "column by column");
  check_outcome(a, b);
  RC_ASSERT(law::is_canonical(joined(a, b)));
}

RC_GTEST_PROP(ConvergenceLaws, CanonicaliseSaysTheSameOnce, ()) {
  auto loose = *law::loose_record();
  RowRecord raw = loose.record(), r = law::canonical(raw);
  RC_ASSERT(law::is_canonical(r));
  RC_ASSERT(Model::of(r).cells == Model::of(raw).cells);
  RC_ASSERT(law::canonical(r) == r);
  RC_ASSERT(r.hidden == raw.hidden);
}

RC_GTEST_PROP(ConvergenceLaws, StampOfReadsWhatTheModelReads, ()) {
  auto r = *law::record();
  Model m = Model::of(r);
  for (uint32_t column = 0; column < 800; ++column) RC_ASSERT(Model::version(r.stamp_of(column)) == m.at(column));
}

RC_GTEST_PROP(ConvergenceLaws, WriteGivesTheStampWhateverWasThere, ()) {
  auto r = *law::record();
  auto columns = *law::column_set();
  auto stamp = *law::stamp_or_bottom();
  if (!stamp.bottom()) RC_PRE(compare(stamp, r.birth, sites()) >= 0);
  RowRecord after = r;
  after.write(columns, stamp);
  RC_ASSERT(law::is_canonical(after));
  for (uint32_t column = 0; column < 800; ++column)
    RC_ASSERT(after.stamp_of(column) == (columns.has(column) ? stamp : r.stamp_of(column)));
  RC_ASSERT(after.live == r.live);
  RC_ASSERT(after.birth == r.birth);
}

TEST(ConvergenceLaws, InsertLeavesNothingOfBefore) {
  RowRecord r;
  r.insert({9, 0}, 3);
  r.write(ColumnSet::of(7), {12, 1});
  r.hidden = true;
  r.insert({10, 2}, 2);
  RowRecord expected;
  expected.alive = true;
  expected.live = expected.birth = {10, 2};
  expected.groups = {{ColumnSet::first(2), {10, 2}}};
  EXPECT_EQ(r, expected);
  r.insert({11, 2}, 0);
  EXPECT_TRUE(r.groups.empty());
}

TEST(ConvergenceLaws, EditOfADeadRowIsKeptAndDoesNotReviveIt) {
  RowRecord row, edit;
  row.insert({5, 0}, 2);
  row.alive = false, row.live = {7, 1};
  edit.groups = {{ColumnSet::of(1), {9, 2}}};
  JoinOutcome outcome;
  join(row, edit, sites(), outcome);
  EXPECT_FALSE(row.alive);
  EXPECT_EQ(row.stamp_of(1), (Stamp{9, 2}));
  EXPECT_EQ(outcome.won, ColumnSet::of(1));
}

TEST(ConvergenceLaws, NothingOfAPreviousLifeShinesThrough) {
  RowRecord row, reborn;
  row.insert({5, 0}, 3);
  row.write(ColumnSet::of(2), {6, 0});
  reborn.insert({7, 1}, 2);  // by a replica that does not know column 2
  JoinOutcome outcome;
  join(row, reborn, sites(), outcome);
  EXPECT_TRUE(outcome.birth_won);
  EXPECT_EQ(outcome.won, ColumnSet::first(2));
  EXPECT_EQ(outcome.dropped, ColumnSet::of(2));
  EXPECT_TRUE(row.stamp_of(2).bottom());
  EXPECT_EQ(row, reborn);
}

TEST(ConvergenceLaws, EqualStampsWithDifferentLivenessAreAlive) {
  RowRecord dead, alive;
  alive.insert({5, 0}, 1);
  dead = alive;
  dead.alive = false;
  EXPECT_TRUE(joined(dead, alive).alive);
  EXPECT_TRUE(joined(alive, dead).alive);
  JoinOutcome outcome;
  join(alive, dead, sites(), outcome);
  EXPECT_TRUE(outcome.live_lost);
  EXPECT_FALSE(outcome.changed());
}

RC_GTEST_PROP(ConvergenceLaws, RestrictKeepsTheNamedColumnsOnly, ()) {
  auto r = *law::record();
  auto columns = *law::column_set();
  auto with_life = *rc::gen::arbitrary<bool>();
  RowRecord part = restrict_record(r, columns, with_life);
  for (uint32_t column = 0; column < 800; ++column)
    RC_ASSERT(part.stamp_of(column) == (columns.has(column) ? r.stamp_of(column) : Stamp{}));
  RC_ASSERT(part.live == (with_life ? r.live : Stamp{}));
  RC_ASSERT(part.birth == (with_life ? r.birth : Stamp{}));
  RC_ASSERT(part.alive == (with_life && r.alive));
  RC_ASSERT(law::is_canonical(part));
  RC_ASSERT(hidden_as(joined(r, part), r) == r);
}

}  // namespace
}  // namespace rejoin::crdt

// The fold rule of docs/algebra.md: entries of one fold may share stamps. What a row shows is what it would show if
// every entry had a stamp of its own, and no cell ever leaves a replica with one stamp and two values.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <map>
#include <tuple>

#include "crdt/law_generators.h"

namespace rejoin::crdt {
namespace {

constexpr uint32_t kColumns = 3;

enum class Kind { insert, update, remove, restore, other_row };

// What an application does to the row (or to another row of its database), and when its clock says that it does.
struct Write {
  Kind kind = Kind::update;
  uint32_t columns = 0;  // bits
  int64_t ms = 0;
};

enum class Rule { shared, distinct };

// One replica with one row. The application's values are kept apart from the record, as in a database.
class Replica {
 public:
  Replica(Rule rule, uint32_t site) : rule_(rule), site_(site) {}

  void write(const Write& w, int value) {
    if (w.kind == Kind::update && !alive_) return;
    if (w.kind == Kind::remove && !alive_) return;
    if (w.kind == Kind::restore && (alive_ || !known_)) return;
    if (w.kind == Kind::insert) alive_ = known_ = true, values_.fill(value);
    if (w.kind == Kind::restore) alive_ = true;  // with the values of before the delete
    if (w.kind == Kind::remove) alive_ = false;
    if (w.kind == Kind::update) ColumnSet::of_bits(w.columns).each([&](uint32_t c) { values_[c] = value; });
    log_.push_back(w);
  }

  void fold() {
    FoldClock shared(last_);
    const Hlc before = last_;
    for (const Write& w : log_) {
      last_ =
          rule_ == Rule::shared ? shared.stamp(w.ms) : std::max({hlc_of_ms(w.ms), last_ + 1, kBeforeTrackingHlc + 1});
      RC_ASSERT(last_ > before);
      const Stamp stamp{last_, site_};
      if (w.kind == Kind::insert) record_.insert(stamp, kColumns);
      if (w.kind == Kind::remove) record_.alive = false, record_.live = stamp;
      if (w.kind == Kind::restore) record_.alive = true, record_.live = stamp;
      if (w.kind == Kind::update) record_.write(ColumnSet::of_bits(w.columns), stamp);
    }
    log_.clear();
    RC_ASSERT(law::is_canonical(record_));
    RC_ASSERT(record_.alive == alive_);
  }

  // What another replica may see: only ever made right after a fold.
  struct Export {
    RowRecord record;
    std::array<int, kColumns> values{};
    Hlc last = 0;
  };
  Export read() {
    fold();
    return {record_, values_, last_};
  }

  void merge(const Export& in) {
    fold();
    JoinOutcome outcome;
    join(record_, in.record, law::sites(), outcome);
    outcome.won.each([&](uint32_t c) { values_[c] = in.values[c]; });
    outcome.dropped.each([&](uint32_t c) { values_[c] = 0; });
    alive_ = record_.alive;
    known_ |= !record_.birth.bottom();
    last_ = std::max(last_, in.last);
  }

  // Alive, and the values of a row that is.
  std::pair<bool, std::array<int, kColumns>> visible() const {
    return {alive_, alive_ ? values_ : std::array<int, kColumns>{}};
  }
  const RowRecord& record() const { return record_; }

 private:
  Rule rule_;
  uint32_t site_;
  Hlc last_ = 0;
  bool alive_ = false;
  bool known_ = false;
  std::array<int, kColumns> values_{};
  RowRecord record_;
  std::vector<Write> log_;
};

rc::Gen<Write> write(rc::Gen<int64_t> ms) {
  return rc::gen::build<Write>(
      rc::gen::set(&Write::kind, rc::gen::element(Kind::insert, Kind::update, Kind::update, Kind::update, Kind::remove,
                                                  Kind::restore, Kind::other_row)),
      rc::gen::set(&Write::columns, rc::gen::element<uint32_t>(1, 2, 4, 3, 6, 7)),
      rc::gen::set(&Write::ms, std::move(ms)));
}

// A clock that stands still, jumps and goes back.
rc::Gen<int64_t> bad_clock() { return rc::gen::element<int64_t>(-1, 0, 1, 1, 1, 2, 2, 3); }

// Every (column, stamp) that has left a replica has one value.
class OneValuePerStamp {
 public:
  void saw(const Replica::Export& e) {
    for (uint32_t c = 0; c < kColumns; ++c) {
      Stamp s = e.record.stamp_of(c);
      if (s.bottom()) continue;
      auto [at, fresh] = values_.try_emplace({c, s.hlc, s.site}, e.values[c]);
      RC_ASSERT(at->second == e.values[c]);
    }
    if (e.record.live.bottom()) return;
    auto [at, fresh] = alive_.try_emplace({e.record.live.hlc, e.record.live.site}, e.record.alive);
    RC_ASSERT(at->second == e.record.alive);
  }

 private:
  std::map<std::tuple<uint32_t, Hlc, uint32_t>, int> values_;
  std::map<std::pair<Hlc, uint32_t>, bool> alive_;
};

RC_GTEST_PROP(SharedStamps, ShowWhatOwnStampsShowToTheFolderAndToWhoeverJoinsAtFoldBoundaries, ()) {
  auto folds = *law::few(law::few(write(bad_clock()), 8), 6);
  Replica mine(Rule::shared, 0), mine_distinct(Rule::distinct, 0);
  OneValuePerStamp seen;
  std::vector<Replica::Export> boundaries, boundaries_distinct;
  int value = 0;
  for (const auto& fold : folds) {
    for (const Write& w : fold) {
      ++value;
      mine.write(w, value);
      mine_distinct.write(w, value);
    }
    const auto before = mine.visible();
    boundaries.push_back(mine.read());
    boundaries_distinct.push_back(mine_distinct.read());
    RC_ASSERT(mine.visible() == before);
    RC_ASSERT(mine.visible() == mine_distinct.visible());
    seen.saw(boundaries.back());

    // Who follows from boundary to boundary sees the same, and so does who gets some of them twice and in any order.
    Replica follower(Rule::shared, 1), follower_distinct(Rule::distinct, 1), late(Rule::shared, 2);
    for (size_t i = 0; i < boundaries.size(); ++i)
      follower.merge(boundaries[i]), follower_distinct.merge(boundaries_distinct[i]);
    late.merge(boundaries.back());
    for (size_t i : *law::few(rc::gen::arbitrary<size_t>())) late.merge(boundaries[i % boundaries.size()]);
    RC_ASSERT(follower.visible() == mine.visible());
    RC_ASSERT(follower_distinct.visible() == mine.visible());
    RC_ASSERT(late.visible() == mine.visible());
    RC_ASSERT(follower.record() == mine.record());
    RC_ASSERT(late.record() == mine.record());
  }
}

// What happens among three replicas: a write at one of them, or the state of one merged into another (`to` != `from`).
struct Step {
  size_t from = 0, to = 0;
  Write write;
};

rc::Gen<std::vector<Step>> script(rc::Gen<int64_t> ms) {
  return law::few(rc::gen::build<Step>(rc::gen::set(&Step::from, rc::gen::element<size_t>(0, 1, 2)),
                                       rc::gen::set(&Step::to, rc::gen::element<size_t>(0, 1, 2)),
                                       rc::gen::set(&Step::write, write(std::move(ms)))),
                  30);
}

using Three = std::array<Replica, 3>;
Three three(Rule rule) { return {Replica(rule, 0), Replica(rule, 1), Replica(rule, 2)}; }

void exchange_all(Three& r, OneValuePerStamp& seen) {
  for (int round = 0; round < 2; ++round)
    for (Replica& from : r)
      for (Replica& to : r) {
        auto e = from.read();
        seen.saw(e);
        if (&from != &to) to.merge(e);
      }
}

RC_GTEST_PROP(SharedStamps, ShowWhatOwnStampsShowAmongConcurrentWritersInDifferentMilliseconds, ()) {
  auto steps = *script(rc::gen::element<int64_t>(0, 0, 1));  // how far time moves on
  Three shared = three(Rule::shared), distinct = three(Rule::distinct);
  OneValuePerStamp seen, seen_distinct;
  int64_t now = 1;
  int value = 0;
  for (Step s : steps) {
    if (s.from == s.to) {
      now += s.write.ms;
      s.write.ms = now * 3 + static_cast<int64_t>(s.from);  // no two replicas in one millisecond
      ++value;
      shared[s.from].write(s.write, value);
      distinct[s.from].write(s.write, value);
    } else {
      auto e = shared[s.from].read();
      seen.saw(e);
      shared[s.to].merge(e);
      distinct[s.to].merge(distinct[s.from].read());
      now += 1;  // a merge takes time: what is written after it is later than all it brought
    }
    for (size_t i = 0; i < 3; ++i) RC_ASSERT(shared[i].visible() == distinct[i].visible());
  }
  exchange_all(shared, seen);
  exchange_all(distinct, seen_distinct);
  for (size_t i = 0; i < 3; ++i) {
    RC_ASSERT(shared[i].visible() == distinct[i].visible());
    RC_ASSERT(shared[i].visible() == shared[0].visible());
    RC_ASSERT(shared[i].record() == shared[0].record());
  }
}

RC_GTEST_PROP(SharedStamps, ConvergeWhateverTheClocksSay, ()) {
  auto steps = *script(bad_clock());
  Three r = three(Rule::shared);
  OneValuePerStamp seen;
  int value = 0;
  for (const Step& s : steps) {
    if (s.from == s.to) {
      r[s.from].write(s.write, ++value);
      continue;
    }
    auto e = r[s.from].read();
    seen.saw(e);
    r[s.to].merge(e);
  }
  exchange_all(r, seen);
  for (size_t i = 1; i < 3; ++i) {
    RC_ASSERT(r[i].record() == r[0].record());
    RC_ASSERT(r[i].visible() == r[0].visible());
  }
}

}  // namespace
}  // namespace rejoin::crdt

#include "sim/generate.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <limits>

#include "base/random.h"
#include "sim/tables.h"

namespace rejoin::sim {
namespace {

enum class Topology { star, chain, ring, mesh };

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) { script_.seed = seed; }

  Script run(Subject subject) {
    script_.replicas = 3 + below(3);
    script_.files = chance(8);
    topology_ = static_cast<Topology>(below(4));
    if (subject == Subject::any)
      subject = chance(11) ? Subject::constraints : chance(7) ? Subject::alters : Subject::plain;
    if (subject == Subject::constraints && chance(7)) subject = Subject::both;
    if (subject == Subject::constraints || subject == Subject::both)
      choose_constrained_tables(subject == Subject::both);
    else if (subject == Subject::alters)
      choose_altered_table();
    else
      choose_tables();
    for (int t : script_.tables) {
      if (!spec(t).alters.empty()) altered_.push_back(t);
      if (!spec(t).late.empty()) indexed_.push_back(t);
    }
    // Changes of tables take long; one replica for each of three versions, and one more, are enough.
    if (!altered_.empty()) script_.replicas = std::min(script_.replicas, subject == Subject::both ? 3 : 4);
    // A few keys only, the same for all, or nobody would ever write to the same row.
    keys_ = 1 + below(4);
    if (spec(script_.tables[0]).constrained && chance(70)) {
      add_family();
    } else if (chance(40)) {
      for (int i = below(4); i >= 0; --i) script_.before.push_back(fill(at(Op::insert, below(script_.replicas))));
      if (chance(30)) script_.before.push_back(fill(at(Op::remove, below(script_.replicas))));
    }
    int steps = 10 + below(31);
    while (std::ssize(script_.steps) < steps) add_some();
    return script_;
  }

 private:
  void choose_tables() {
    // The wide table is slow to track; it gets its turn, but not more.
    int tables = first_altered();
    int wide = table_index("wide");
    do script_.tables.assign(1, below(tables));
    while (script_.tables[0] == wide && !chance(20));
    if (chance(25)) {
      int second = below(tables);
      if (second != script_.tables[0] && second != wide) script_.tables.push_back(second);
    }
  }
  // Those that get another key have their turn, but not more.
  void choose_altered_table() {
    const bool rekeyed = chance(30);
    std::vector<int> tables;
    for (int t = first_altered(); t < first_constrained(); ++t) {
      const auto& all = spec(t).alters;
      const auto is = [](const AlterSpec& alter) { return alter.kind == AlterSpec::rekey; };
      if (std::any_of(all.begin(), all.end(), is) == rekeyed) tables.push_back(t);
    }
    script_.tables.push_back(tables[static_cast<size_t>(below(static_cast<int>(tables.size())))]);
  }
  void choose_constrained_tables(bool altered) {
    int first = first_constrained(), tables = first_altered(first), all = static_cast<int>(table_specs().size());
    if (altered) {
      for (int t = tables; t < all; ++t) script_.tables.push_back(t);
    } else {
      for (int last = tables - (chance(60) ? 0 : 1 + below(tables - first)), t = first; t < std::max(last, first + 1);
           ++t)
        script_.tables.push_back(t);
    }
    script_.enforced = chance(60);
    script_.recursive = chance(50);
  }
  static int first_altered(int from = 0) {
    int t = from;
    while (table_specs()[static_cast<size_t>(t)].alters.empty()) ++t;
    return t;
  }
  static int first_constrained() {
    int t = 0;
    while (!table_specs()[static_cast<size_t>(t)].constrained) ++t;
    return t;
  }

  int below(int n) { return static_cast<int>(random_.u64() % static_cast<uint64_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return *(list.begin() + below(static_cast<int>(list.size())));
  }

  Value integer() {
    return one_of<Value>({Value::of(int64_t{0}), Value::of(int64_t{1}), Value::of(int64_t{-1}), Value::of(int64_t{255}),
                          Value::of(std::numeric_limits<int64_t>::max()),
                          Value::of(std::numeric_limits<int64_t>::min()), Value::of((int64_t{1} << 53) + 1),
                          Value::of(static_cast<int64_t>(random_.u64()))});
  }
  // Here and below: what takes two random numbers takes them one after the other. The order of a call's arguments is
  // the compiler's choice, and a seed must give the same script everywhere.
  Value any_real() {
    const int exponent = below(600) - 300;
    return Value::of(std::ldexp(static_cast<double>(random_.u64() >> 12 | 1), exponent));
  }
  Value real() {
    // -0.0 is left out: SQLite itself calls it equal to 0.0, see docs/testing.md.
    return one_of<Value>({Value::of(0.0), Value::of(1.0), Value::of(0.1), Value::of(std::nextafter(0.1, 1.0)),
                          Value::of(-1.5), Value::of(5e-324), Value::of(std::numeric_limits<double>::max()),
                          Value::of(HUGE_VAL), Value::of(-HUGE_VAL), any_real()});
  }
  Value text() {
    return one_of<Value>({Value::text(""), Value::text("a"), Value::text("b"), Value::text(std::string("a\0b", 3)),
                          Value::text("naïve ☃ 🜚"), Value::text("018f2f6e-7b1c-7abc-8def-0123456789ab"),
                          Value::text("-1.5e"), Value::text(std::string(static_cast<size_t>(below(300)), 'x'))});
  }
  Value blob() {
    return one_of<Value>({Value::blob(""), Value::blob(std::string("\0", 1)), Value::blob("a"),
                          Value::blob(std::string("\xff\x00\xfe", 3)),
                          Value::blob(random_.bytes(static_cast<size_t>(below(40))))});
  }
  Value value(const ColumnSpec& column) {
    if (column.values.empty()) return value(column.kind);
    // References are mostly to rows that scripts write.
    size_t some = column.references && chance(80) ? static_cast<size_t>(keys_) + 1 : column.values.size();
    return column.values[static_cast<size_t>(below(static_cast<int>(std::min(some, column.values.size()))))];
  }
  // Only values that the column's affinity leaves alone.
  Value value(Kind kind) {
    int k = below(100);
    switch (kind) {
      case Kind::any_not_null:
      case Kind::integer_strict:
      case Kind::any:
        if (kind == Kind::integer_strict) return k < 15 ? Value::null() : integer();
        // A NOT NULL column of the strict table is an INT.
        if (kind == Kind::any_not_null) return integer();
        if (k < 12) return Value::null();
        if (k < 40) return integer();
        if (k < 55) return real();
        // A change of type alone, which SQLite's comparison calls none.
        if (k < 60) return one_of<Value>({Value::of(int64_t{1}), Value::of(1.0)});
        if (k < 85) return text();
        return blob();
      case Kind::integer:
        if (k < 15) return Value::null();
        if (k < 80) return integer();
        if (k < 87) return Value::of(2.5);
        if (k < 94) return Value::text("x");
        return blob();
      case Kind::real:
        if (k < 15) return Value::null();
        if (k < 85) return real();
        if (k < 92) return Value::text("x");
        return blob();
      case Kind::text:
        if (k < 15) return Value::null();
        return k < 90 ? text() : blob();
      case Kind::real_strict:
        return k < 15 ? Value::null() : real();
      case Kind::text_strict:
        return k < 15 ? Value::null() : text();
      case Kind::blob:
        return blob();
    }
    return Value::null();
  }

  const TableSpec& spec(int table) const { return table_specs()[static_cast<size_t>(table)]; }
  Key key(int table) {
    const auto& keys = spec(table).keys;
    return keys[static_cast<size_t>(below(std::min(keys_ + 1, static_cast<int>(keys.size()))))];
  }
  std::vector<std::pair<int, Value>> columns(int table, int percent) {
    std::vector<std::pair<int, Value>> out;
    const auto& all = spec(table).columns;
    for (size_t c = 0; c < all.size(); ++c)
      if (chance(percent)) out.emplace_back(static_cast<int>(c), value(all[c]));
    return out;
  }

  // Fills in what the operation needs.
  Step fill(Step step) {
    step.table = script_.tables[static_cast<size_t>(below(static_cast<int>(script_.tables.size())))];
    const int count = static_cast<int>(spec(step.table).columns.size());
    // A row that displaces one which it refers to would be deleted while it is updated, of which SQLite says nothing.
    for (const ReferenceSpec& f : spec(step.table).references)
      if (f.parent == spec(step.table).label && step.op == Op::rekey_or_replace) step.op = Op::rekey;
    auto one = [&] {
      std::vector<std::pair<int, Value>> set;
      if (count > 0) {
        int c = below(count);
        set.emplace_back(c, value(spec(step.table).columns[static_cast<size_t>(c)]));
      }
      return set;
    };
    auto some = [&] {
      int k = below(100);
      if (k < 55) return one();
      if (k < 80) return columns(step.table, 50);
      return k < 92 ? columns(step.table, 100) : std::vector<std::pair<int, Value>>();
    };
    if (step.op != Op::update_all && step.op != Op::remove_all) step.key = key(step.table);
    switch (step.op) {
      case Op::insert:
      case Op::insert_or_ignore:
      case Op::replace:
      case Op::upsert_nothing:
        step.set = columns(step.table, chance(60) ? 80 : 30);
        break;
      case Op::upsert:
      case Op::update:
      case Op::update_all:
        step.set = some();
        break;
      case Op::rekey:
      case Op::rekey_or_replace:
        step.to = key(step.table);
        if (chance(30)) step.set = one();
        break;
      default:
        break;
    }
    return step;
  }

  // Rows that refer to each other, so that there is something to cascade from the beginning.
  void add_family() {
    int replica = below(script_.replicas);
    for (int table : script_.tables) {
      for (int i = 2 + below(2); i > 0; --i) {
        Step step = fill(at(Op::insert, replica));
        step.table = table, step.key = key(table), step.set = columns(table, 80);
        script_.before.push_back(std::move(step));
      }
    }
  }

  Op random_statement() {
    int k = below(100);
    if (k < 22) return Op::insert;
    if (k < 26) return Op::insert_or_ignore;
    if (k < 34) return Op::replace;
    if (k < 42) return Op::upsert;
    if (k < 45) return Op::upsert_nothing;
    if (k < 70) return Op::update;
    if (k < 75) return Op::update_all;
    if (k < 81) return Op::rekey;
    if (k < 84) return Op::rekey_or_replace;
    if (k < 98) return Op::remove;
    return Op::remove_all;
  }

  int connection() {
    int k = below(100);
    return k < 75 ? 0 : k < 88 ? 1 : 2;
  }

  // Two neighbours.
  void pair(int& a, int& b) {
    int n = script_.replicas;
    switch (topology_) {
      case Topology::star:
        a = 0, b = 1 + below(n - 1);
        break;
      case Topology::chain:
        a = below(n - 1), b = a + 1;
        break;
      case Topology::ring:
        a = below(n), b = (a + 1) % n;
        break;
      case Topology::mesh:
        a = below(n);
        do b = below(n);
        while (b == a);
        break;
    }
    if (chance(50)) std::swap(a, b);
  }

  Step at(Op op, int replica, int connection_number = 0) {
    Step step;
    step.op = op, step.replica = replica, step.connection = connection_number;
    return step;
  }
  void statement_on(int replica, int c) { script_.steps.push_back(fill(at(random_statement(), replica, c))); }

  void add_transaction() {
    int r = below(script_.replicas), c = connection();
    const bool alters = !altered_.empty() && chance(25);
    if (alters) {
      script_.steps.push_back(alter(r, c &= 1)), script_.steps.back().op = Op::alter_begin;
    } else {
      script_.steps.push_back(at(chance(80) ? Op::begin : Op::savepoint, r, c));
    }
    int64_t depth = 0;
    for (int i = 1 + below(4); i > 0; --i) {
      int k = below(100);
      Step step;
      if (k < 12) {
        step = at(Op::savepoint, r, c), step.number = ++depth;
        script_.steps.push_back(step);
      } else if (k < 22 && depth) {
        step = at(chance(60) ? Op::rollback_to : Op::release, r, c), step.number = 1 + below(static_cast<int>(depth));
        script_.steps.push_back(step);
      } else if (k < 32) {
        add_world();
      } else if (k < 37) {
        script_.steps.push_back(!altered_.empty()                 ? alter(r, c)
                                : !indexed_.empty() && chance(40) ? index(r, c)
                                                                  : fill(at(Op::restore, r, c)));
      } else if (k < 42) {
        statement_on(r, (c + 1) % 3);
      } else {
        statement_on(r, c);
      }
    }
    int k = below(100);
    if (alters && k < 75) return script_.steps.push_back(at(k < 60 ? Op::alter_commit : Op::commit, r, c));
    script_.steps.push_back(at(k < 55 ? Op::commit : k < 90 ? Op::rollback : Op::reopen, r, c));
  }

  Step alter(int replica, int connection_number) {
    Step step = at(Op::alter, replica, connection_number);
    step.table = altered_[static_cast<size_t>(below(static_cast<int>(altered_.size())))],
    step.number = one_of<int64_t>({0, 0, 1, 2});
    return step;
  }

  // A UNIQUE index that others may not have comes or goes.
  Step index(int replica, int connection_number) {
    Step step = at(Op::index, replica, connection_number);
    step.table = indexed_[static_cast<size_t>(below(static_cast<int>(indexed_.size())))];
    step.number = below(static_cast<int>(spec(step.table).late.size()));
    return step;
  }
  // Often somebody writes to the table before Rejoin has noticed.
  void add_index(int replica, int connection_number) {
    script_.steps.push_back(index(replica, connection_number));
    const int table = script_.steps.back().table;
    if (!chance(40)) return;
    const int c = connection();
    const Op op = chance(60) ? Op::replace : random_statement();
    Step step;
    do step = fill(at(op, replica, c));
    while (step.table != table);
    script_.steps.push_back(std::move(step));
  }

  // Something that concerns Rejoin, time or another replica.
  void add_world() {
    int a = 0, b = 0, k = below(100);
    pair(a, b);
    Step step;
    if (!altered_.empty() && chance(25)) {
      step = alter(a, connection());
    } else if (!indexed_.empty() && chance(12)) {
      const int c = below(3);
      return add_index(a, c);
    } else if (k < 40) {
      step = at(Op::sync, a, connection() & 1), step.peer = b;
    } else if (k < 50) {
      step = at(Op::send, a, connection() & 1), step.peer = b;
    } else if (k < 62) {
      step = at(Op::deliver, a), step.number = below(8);
    } else if (k < 64) {
      step = at(Op::drop, a), step.number = below(8);
    } else if (k < 78) {
      step = at(Op::page, a, connection() & 1), step.peer = b;
      step.number = one_of<int64_t>({1, 40, 200, 100000});
      int f = below(100);
      step.fate = f < 65 ? Fate::arrive : f < 75 ? Fate::lose : f < 85 ? Fate::twice : Fate::early;
      // A stream of pages seldom ends after one.
      for (int i = below(3); i > 0; --i) script_.steps.push_back(step), script_.steps.back().fate = Fate::arrive;
    } else if (k < 84) {
      step = at(Op::compact, a), step.number = chance(30) ? 1 + below(2) : 0;
    } else if (k < 88) {
      step = at(Op::fold, a, connection() & 1);
    } else if (k < 95) {
      step = at(Op::clock, a);
      step.number = one_of<int64_t>({1, 1, 5, 1000, 3'600'000, -1, -1000, -3'600'000});
    } else if (k < 97) {
      step = at(Op::reopen, a, connection());
    } else {
      step = at(Op::clone, a), step.peer = b;
    }
    script_.steps.push_back(step);
  }

  void add_some() {
    int k = below(100);
    if (k < 48) {
      const int c = connection();
      statement_on(below(script_.replicas), c);
    } else if (k < 52) {
      script_.steps.push_back(fill(at(Op::restore, below(script_.replicas))));
    } else if (k < 57) {
      // Away and back again: the classical way to get a birth wrong.
      const int c = connection();
      Step gone = fill(at(Op::remove, below(script_.replicas), c));
      Step back = fill(at(Op::insert, gone.replica, gone.connection));
      if (back.table == gone.table) back.key = gone.key;
      script_.steps.push_back(gone);
      script_.steps.push_back(back);
    } else if (k < 66) {
      add_transaction();
    } else {
      add_world();
    }
  }

  SeededRandom random_;
  Script script_;
  Topology topology_ = Topology::mesh;
  std::vector<int> altered_;  // tables that change
  std::vector<int> indexed_;  // those with UNIQUE indexes that come late
  int keys_ = 4;
};

}  // namespace

Script generate(uint64_t seed, Subject subject) { return Generator(seed).run(subject); }

}  // namespace rejoin::sim

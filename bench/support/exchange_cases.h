// What it costs to read a changeset and to merge one, against a SELECT and an UPSERT of the same rows.
#pragma once

#include "bench/support/prepared.h"

namespace rejoin::bench {

// Small exchanges are repeated, or they would be too short to measure.
inline constexpr int kSmallRounds = 40;
inline constexpr int kSmallChanges = 100;

// ---- reading
// -----------------------------------------------------------------------------------------------------------------------

inline Side select_all(const Shape& shape) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(full_db(space, shape, Tracked::no)));
    Statement all(db, "SELECT * FROM " + shape.table);
    int64_t rows = 0, bytes = 0;
    meter.start();
    while (all.next()) {
      // Each value is looked at, as whoever sends the rows must.
      for (int i = 0; i < shape.columns; ++i) {
        if (sqlite3_column_type(all.handle(), i) == SQLITE_TEXT) {
          const unsigned char* text = sqlite3_column_text(all.handle(), i);
          bytes += sqlite3_column_bytes(all.handle(), i) + text[0];
        } else {
          bytes += sqlite3_column_int64(all.handle(), i) & 1;
        }
      }
      ++rows;
    }
    meter.stop();
    if (rows != space.rows() || bytes == 0) die("rows are missing");
  };
}

inline Side extract_all(const Shape& shape, bool folded) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(folded ? folded_db(space, shape) : full_db(space, shape, Tracked::yes)));
    sqlite::Replica replica(db.handle());
    meter.start();
    auto frame = must(replica.changeset(0), "changeset");
    meter.stop();
    meter.finish();
    if (!frame) die("the changeset is empty");
    meter.note("frame_bytes", static_cast<double>(frame->size()));
    meter.note("value_bytes", static_cast<double>(value_bytes(db, shape)));
  };
}

// Rows whose titles one round changes: spread over the whole table, other ones in each round.
inline std::vector<Todo> round_of_changes(const std::vector<Todo>& all, int round) {
  Seeded random(1000 + static_cast<uint64_t>(round));
  std::vector<Todo> out;
  for (int i = 0; i < kSmallChanges; ++i) {
    Todo todo = all[random.below(all.size())];
    todo.title = make_words(random, 4);
    out.push_back(std::move(todo));
  }
  return out;
}

inline void update_titles(Database& db, const std::vector<Todo>& changes) {
  Statement update(db, "UPDATE todos SET title = ? WHERE id = ?");
  db.exec("BEGIN");
  for (const Todo& todo : changes) {
    update.bind(1, todo.title);
    update.bind(2, todo.id);
    update.run();
  }
  db.exec("COMMIT");
}

// The changeset of 100 changes among all rows; `with_fold`: the changes were not folded before.
inline Side extract_few(bool with_fold) {
  return [=](Workspace& space, Meter& meter) {
    std::vector<Todo> rows = make_todos(space.rows());
    Database db(space.scratch(folded_db(space, todo_shape())));
    sqlite::Replica replica(db.handle());
    std::string last;
    for (int round = 0; round < kSmallRounds; ++round) {
      int64_t since = must(replica.seq(), "seq");
      update_titles(db, round_of_changes(rows, round));
      if (!with_fold) must(replica.fold(), "fold");
      meter.start();
      auto frame = must(replica.changeset(since), "changeset");
      meter.stop();
      if (!frame) die("the changeset is empty");
      last = *frame;
    }
    meter.finish();
    meter.note("rounds", kSmallRounds);
    meter.note("frame_bytes", static_cast<double>(last.size()));
  };
}

// ---- merging
// -----------------------------------------------------------------------------------------------------------------------

// `sent`: in the order in which a SELECT of the sender's table gives the rows, as a plain copy has them. `key`: in the
// changeset's order.
enum class Order { sent, key };

// A UPSERT of all rows into `start`.
template <class Row>
Side plain_upserts(const Shape& shape, std::function<fs::path(Workspace&)> start, std::vector<Row> (*make)(int64_t),
                   Order order) {
  return [=](Workspace& space, Meter& meter) {
    std::vector<Row> rows = make(space.rows());
    if (order == Order::key) rows = by_key(std::move(rows));
    fs::path expected = full_db(space, shape, Tracked::no);
    Database db(space.scratch(start(space)));
    meter.start();
    upsert_all(db, shape, rows);
    meter.stop();
    meter.finish();
    expect_same_rows(db, expected, shape);
  };
}

inline Side apply_all(const Shape& shape, std::function<fs::path(Workspace&)> start, bool news) {
  return [=](Workspace& space, Meter& meter) {
    std::string frame = full_changeset(space, shape);
    fs::path expected = full_db(space, shape, Tracked::no);
    Database db(space.scratch(start(space)));
    sqlite::Replica replica(db.handle());
    meter.start();
    auto outcome = must(replica.apply(frame), "apply");
    meter.stop();
    meter.finish();
    if (outcome.rows_changed != (news ? static_cast<uint64_t>(space.rows()) : 0))
      die("apply changed " + std::to_string(outcome.rows_changed) + " rows");
    expect_same_rows(db, expected, shape);
  };
}

inline std::vector<Todo> todo_rows(int64_t n) { return make_todos(n); }
inline std::vector<WideRow> wide_rows(int64_t n) { return make_wide(n); }

// A device that wrote the same keys itself, other values, before the sender did: every row of the changeset conflicts,
// and wins.
inline fs::path conflicting_db(Workspace& space, Tracked tracked, AppTriggers triggers) {
  Shape shape = todo_shape();
  std::string name = std::string("todos-conflicting") + (tracked == Tracked::no ? "-plain" : "-receiver") +
                     (triggers == AppTriggers::yes ? "-triggers" : "");
  return space.prepared(name, [&] {
    Database db(space.scratch(empty_db(space, shape, tracked, triggers)));
    sqlite::Replica replica(db.handle());
    insert_all(db, shape, make_todos(space.rows(), 1, 201));
    if (tracked != Tracked::no) must(replica.fold(), "fold");
  });
}

using Start = std::function<fs::path(Workspace&)>;

inline Start start_empty(const Shape& shape, Tracked tracked, AppTriggers triggers) {
  return [=](Workspace& space) { return empty_db(space, shape, tracked, triggers); };
}
inline Start start_conflicting(AppTriggers triggers) {
  return [=](Workspace& space) { return conflicting_db(space, Tracked::no, triggers); };
}

inline Side apply_conflicting(AppTriggers triggers) {
  return [=](Workspace& space, Meter& meter) {
    Shape shape = todo_shape();
    fs::path expected = full_db(space, shape, Tracked::no);
    // The receivers' files come first, so that their stamps are the older ones.
    for (AppTriggers any : {AppTriggers::no, AppTriggers::yes}) conflicting_db(space, Tracked::receiver, any);
    fs::path start = conflicting_db(space, Tracked::receiver, triggers);
    std::string frame = space.prepared_blobs("todos-newer-changeset", [&] {
      Database db(space.scratch(empty_db(space, shape, Tracked::yes)));
      insert_all(db, shape, make_todos(space.rows()));
      sqlite::Replica replica(db.handle());
      return std::vector<std::string>{*must(replica.changeset(0), "changeset")};
    })[0];
    Database db(space.scratch(start));
    sqlite::Replica replica(db.handle());
    meter.start();
    auto outcome = must(replica.apply(frame), "apply");
    meter.stop();
    meter.finish();
    if (outcome.rows_changed != static_cast<uint64_t>(space.rows()))
      die("apply changed " + std::to_string(outcome.rows_changed) + " rows");
    expect_same_rows(db, expected, shape);
  };
}

// Changesets of 100 one-column changes each, made one after the other by the sender of full_changeset.
inline std::vector<std::string> small_changesets(Workspace& space) {
  return space.prepared_blobs("todos-small-changesets", [&] {
    std::vector<Todo> rows = make_todos(space.rows());
    Database db(space.scratch(folded_db(space, todo_shape())));
    sqlite::Replica replica(db.handle());
    std::vector<std::string> out;
    for (int round = 0; round < kSmallRounds; ++round) {
      int64_t since = must(replica.seq(), "seq");
      update_titles(db, round_of_changes(rows, round));
      auto frame = must(replica.changeset(since), "changeset");
      if (!frame) die("the changeset is empty");
      out.push_back(*frame);
    }
    return out;
  });
}

inline Side plain_few() {
  return [](Workspace& space, Meter& meter) {
    std::vector<Todo> rows = make_todos(space.rows());
    std::vector<std::vector<Todo>> rounds;
    for (int round = 0; round < kSmallRounds; ++round) rounds.push_back(round_of_changes(rows, round));
    Database db(space.scratch(full_db(space, todo_shape(), Tracked::no)));
    Statement upsert(db,
                     "INSERT INTO todos(id, title) VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET title = excluded.title");
    meter.start();
    for (const auto& round : rounds) {
      db.exec("BEGIN");
      for (const Todo& todo : round) {
        upsert.bind(1, todo.id);
        upsert.bind(2, todo.title);
        upsert.run();
      }
      db.exec("COMMIT");
    }
    meter.stop();
  };
}

inline Side apply_few() {
  return [](Workspace& space, Meter& meter) {
    fs::path start = applied_db(space, todo_shape());
    std::vector<std::string> frames = small_changesets(space);
    Database db(space.scratch(start));
    sqlite::Replica replica(db.handle());
    meter.start();
    uint64_t changed = 0;
    for (const std::string& frame : frames) changed += must(replica.apply(frame), "apply").rows_changed;
    meter.stop();
    meter.finish();
    if (changed < static_cast<uint64_t>(kSmallRounds * kSmallChanges) * 9 / 10)
      die("only " + std::to_string(changed) + " rows changed");
  };
}

inline std::vector<Case> exchange_cases() {
  Shape todo = todo_shape(), wide = wide_shape();
  auto merge_case = [&](const char* name, const Start& plain, Side rejoin) {
    return Case{name, plain_upserts<Todo>(todo, plain, todo_rows, Order::sent), std::move(rejoin),
                plain_upserts<Todo>(todo, plain, todo_rows, Order::key)};
  };
  auto into_empty = [&](const char* name, AppTriggers triggers) {
    return merge_case(name, start_empty(todo, Tracked::no, triggers),
                      apply_all(todo, start_empty(todo, Tracked::receiver, triggers), true));
  };
  auto onto_conflicts = [&](const char* name, AppTriggers triggers) {
    return merge_case(name, start_conflicting(triggers), apply_conflicting(triggers));
  };
  Start plain_full = [=](Workspace& space) { return full_db(space, todo, Tracked::no); };
  Start applied = [=](Workspace& space) { return applied_db(space, todo); };
  Start wide_empty = start_empty(wide, Tracked::no, AppTriggers::no);
  return {
      {"changeset", select_all(todo), extract_all(todo, true)},
      {"changeset_fold", select_all(todo), extract_all(todo, false)},
      {"changeset_100", {}, extract_few(false)},
      {"changeset_100_fold", {}, extract_few(true)},
      into_empty("apply_empty", AppTriggers::no),
      into_empty("apply_empty_triggers", AppTriggers::yes),
      into_empty("apply_empty_search", AppTriggers::search),
      merge_case("apply_again", plain_full, apply_all(todo, applied, false)),
      onto_conflicts("apply_conflict", AppTriggers::no),
      onto_conflicts("apply_conflict_triggers", AppTriggers::yes),
      {"apply_100", plain_few(), apply_few()},
      {"wide_apply_empty", plain_upserts<WideRow>(wide, wide_empty, wide_rows, Order::sent),
       apply_all(wide, start_empty(wide, Tracked::receiver, AppTriggers::no), true),
       plain_upserts<WideRow>(wide, wide_empty, wide_rows, Order::key)},
      {"wide_changeset", select_all(wide), extract_all(wide, true)},
  };
}

}  // namespace rejoin::bench

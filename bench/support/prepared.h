// The prepared databases that the cases start from.
#pragma once

#include "bench/support/dataset.h"
#include "bench/support/harness.h"
#include "sqlite/replica.h"

namespace rejoin::bench {

// `receiver`: tracked by another replica than `yes`.
enum class Tracked { no, yes, receiver };
// `search`: three indexes, and FTS5 kept in step.
enum class AppTriggers { no, yes, search };

template <class Row>
void insert_all(Database& db, const Shape& shape, const std::vector<Row>& rows) {
  Statement insert(db, insert_sql(shape));
  db.exec("BEGIN");
  for (const Row& row : rows) {
    bind(insert, row);
    insert.run();
  }
  db.exec("COMMIT");
}

template <class Row>
void upsert_all(Database& db, const Shape& shape, const std::vector<Row>& rows) {
  Statement upsert(db, upsert_sql(shape));
  db.exec("BEGIN");
  for (const Row& row : rows) {
    bind(upsert, row);
    upsert.run();
  }
  db.exec("COMMIT");
}

// The order in which a changeset holds rows.
template <class Row>
std::vector<Row> by_key(std::vector<Row> rows) {
  auto key = [](const Row& row) -> const std::string& {
    if constexpr (std::is_same_v<Row, Todo>) {
      return row.id;
    } else {
      return std::get<std::string>(row[0]);
    }
  };
  std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return key(a) < key(b); });
  return rows;
}

inline fs::path empty_db(Workspace& space, const Shape& shape, Tracked tracked,
                         AppTriggers triggers = AppTriggers::no) {
  static const char* kinds[] = {"-plain", "-tracked", "-receiver"};
  static const char* apps[] = {"", "-triggers", "-search"};
  std::string name = shape.table + kinds[static_cast<int>(tracked)] + apps[static_cast<int>(triggers)] + "-empty";
  return space.prepared(name, [&] {
    Database db(space.scratch());
    db.exec(shape.create);
    if (triggers == AppTriggers::yes) db.exec(kTodoTriggers);
    if (triggers == AppTriggers::search) db.exec(kTodoSearch);
    if (tracked != Tracked::no) {
      sqlite::Replica replica(db.handle());
      must(replica.track(shape.table), "track");
    }
  });
}

// All rows inserted in one transaction; when tracked, their log entries are still to be folded.
inline fs::path full_db(Workspace& space, const Shape& shape, Tracked tracked) {
  std::string name = shape.table + (tracked == Tracked::yes ? "-tracked" : "-plain") + "-full";
  return space.prepared(name, [&] {
    Database db(space.scratch(empty_db(space, shape, tracked)));
    if (shape.table == "wide") {
      insert_all(db, shape, make_wide(space.rows()));
    } else {
      insert_all(db, shape, make_todos(space.rows()));
    }
  });
}

// The same, tracked and folded.
inline fs::path folded_db(Workspace& space, const Shape& shape) {
  return space.prepared(shape.table + "-tracked-folded", [&] {
    Database db(space.scratch(full_db(space, shape, Tracked::yes)));
    sqlite::Replica replica(db.handle());
    must(replica.fold(), "fold");
  });
}

// What each row of the app is when both sides start from the same state: plain, or tracked and folded.
inline fs::path settled_db(Workspace& space, const Shape& shape, Tracked tracked) {
  return tracked == Tracked::yes ? folded_db(space, shape) : full_db(space, shape, Tracked::no);
}

// The changeset of everything in folded_db.
inline std::string full_changeset(Workspace& space, const Shape& shape) {
  return space.prepared_blobs(shape.table + "-changeset", [&] {
    Database db(space.scratch(folded_db(space, shape)));
    sqlite::Replica replica(db.handle());
    auto frame = must(replica.changeset(0), "changeset");
    if (!frame) die("the changeset of a full database is empty");
    return std::vector<std::string>{*frame};
  })[0];
}

// Another replica that has taken that changeset, and nothing else.
inline fs::path applied_db(Workspace& space, const Shape& shape) {
  return space.prepared(shape.table + "-applied", [&] {
    std::string frame = full_changeset(space, shape);
    Database db(space.scratch(empty_db(space, shape, Tracked::receiver)));
    sqlite::Replica replica(db.handle());
    must(replica.apply(frame), "apply");
  });
}

}  // namespace rejoin::bench

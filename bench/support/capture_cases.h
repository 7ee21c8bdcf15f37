// What an app's own writes cost when the table is tracked: the triggers, and the fold.
#pragma once

#include "bench/support/prepared.h"

namespace rejoin::bench {

// One update of each row by key, in the order of insertion, in one transaction.
inline void update_rows(Database& db, const std::string& sql, const std::vector<Todo>& rows,
                        const std::function<void(Statement&, const Todo&)>& bind_row, Meter& meter) {
  Statement update(db, sql);
  meter.start();
  db.exec("BEGIN");
  for (const Todo& row : rows) {
    bind_row(update, row);
    update.run();
  }
  db.exec("COMMIT");
  meter.stop();
}

inline Side insert_bulk(Tracked tracked, bool fold) {
  return [=](Workspace& space, Meter& meter) {
    Shape shape = todo_shape();
    std::vector<Todo> rows = make_todos(space.rows());
    Database db(space.scratch(empty_db(space, shape, tracked)));
    sqlite::Replica replica(db.handle());
    meter.start();
    insert_all(db, shape, rows);
    if (fold) must(replica.fold(), "fold");
    meter.stop();
  };
}

inline Side insert_single(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    Shape shape = todo_shape();
    std::vector<Todo> rows = make_todos(space.some(), 101, 102);
    Database db(space.scratch(settled_db(space, shape, tracked)));
    Statement insert(db, insert_sql(shape));
    meter.start();
    for (const Todo& row : rows) {
      bind(insert, row);
      insert.run();
    }
    meter.stop();
  };
}

inline Side update_single(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    std::vector<Todo> rows = make_todos(space.rows(), 1, 103);
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    Statement update(db, "UPDATE todos SET title = ? WHERE id = ?");
    size_t step = rows.size() / static_cast<size_t>(space.some());
    meter.start();
    for (size_t i = 0; i < rows.size(); i += step) {
      update.bind(1, rows[i].title);
      update.bind(2, rows[i].id);
      update.run();
    }
    meter.stop();
  };
}

inline Side update_column(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    update_rows(
        db, "UPDATE todos SET title = ? WHERE id = ?", make_todos(space.rows(), 1, 103),
        [](Statement& stmt, const Todo& row) {
          stmt.bind(1, row.title);
          stmt.bind(2, row.id);
        },
        meter);
  };
}

inline Side update_all_columns(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    // Values that differ from the old ones in every column.
    std::vector<Todo> rows = make_todos(space.rows());
    std::vector<Todo> other = make_todos(space.rows(), 1, 103);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].title = other[i].title + "!";
      rows[i].done = 1 - rows[i].done;
      rows[i].priority = (rows[i].priority + 1) % 10;
    }
    update_rows(
        db, "UPDATE todos SET title = ?, done = ?, priority = ? WHERE id = ?", rows,
        [](Statement& stmt, const Todo& row) {
          stmt.bind(1, row.title);
          stmt.bind(2, row.done);
          stmt.bind(3, row.priority);
          stmt.bind(4, row.id);
        },
        meter);
  };
}

inline Side update_statement(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    meter.start();
    db.exec("UPDATE todos SET priority = priority + 1");
    meter.stop();
  };
}

inline Side delete_rows(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    update_rows(
        db, "DELETE FROM todos WHERE id = ?", make_todos(space.rows()),
        [](Statement& stmt, const Todo& row) { stmt.bind(1, row.id); }, meter);
    if (db.integer("SELECT count(*) FROM todos")) die("rows are left after the delete");
  };
}

// Every row by its key, then all rows in one statement.
inline Side read_rows(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    std::vector<Todo> rows = make_todos(space.rows());
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    Statement one(db, "SELECT title, done, priority FROM todos WHERE id = ?");
    Statement all(db, "SELECT count(*), sum(length(title)), sum(done), sum(priority) FROM todos");
    int64_t found = 0;
    meter.start();
    for (const Todo& row : rows) {
      one.bind(1, row.id);
      while (one.next()) ++found;
    }
    while (all.next()) {
    }
    meter.stop();
    if (found != space.rows()) die("rows are missing");
  };
}

inline Side wide_update_column(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    Shape shape = wide_shape();
    std::vector<WideRow> rows = make_wide(space.rows(), 11, 13);
    Database db(space.scratch(settled_db(space, shape, tracked)));
    Statement update(db, "UPDATE wide SET c9 = ? WHERE id = ?");
    meter.start();
    db.exec("BEGIN");
    for (const WideRow& row : rows) {
      update.bind(1, std::get<std::string>(row[9]));
      update.bind(2, std::get<std::string>(row[0]));
      update.run();
    }
    db.exec("COMMIT");
    meter.stop();
  };
}

inline std::vector<Case> capture_cases() {
  auto both = [](std::string name, auto make) { return Case{std::move(name), make(Tracked::no), make(Tracked::yes)}; };
  return {
      {"insert", insert_bulk(Tracked::no, false), insert_bulk(Tracked::yes, false)},
      {"insert_fold", insert_bulk(Tracked::no, false), insert_bulk(Tracked::yes, true)},
      both("insert_single", insert_single),
      both("update_single", update_single),
      both("update_column", update_column),
      both("update_all", update_all_columns),
      both("update_statement", update_statement),
      both("delete", delete_rows),
      both("read", read_rows),
      both("wide_update_column", wide_update_column),
  };
}

}  // namespace rejoin::bench

// Bytes: of the database file, and of what travels.
#pragma once

#include <zstd.h>

#include "bench/support/exchange_cases.h"

namespace rejoin::bench {

inline double file_bytes(const fs::path& path) { return static_cast<double>(fs::file_size(path)); }

// The file after inserting all rows (tracked: and folding and compacting), as it lies there and after VACUUM.
inline Side file_size(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    fs::path path = space.scratch(empty_db(space, todo_shape(), tracked));
    {
      Database db(path);
      insert_all(db, todo_shape(), make_todos(space.rows()));
      if (tracked == Tracked::yes) {
        sqlite::Replica replica(db.handle());
        must(replica.fold(), "fold");
        must(replica.compact(), "compact");
      }
      db.checkpoint();
      meter.note("bytes", file_bytes(path));
      db.exec("VACUUM");
      db.checkpoint();
      meter.note("vacuumed_bytes", file_bytes(path));
    }
  };
}

inline std::string compress(const std::string& in) {
  std::string out(ZSTD_compressBound(in.size()), '\0');
  size_t n = ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 3);
  if (ZSTD_isError(n)) die(ZSTD_getErrorName(n));
  out.resize(n);
  return out;
}

// A changeset of everything, uncompressed and compressed, against the rows' own values.
inline Side full_changeset_bytes() {
  return [](Workspace& space, Meter& meter) {
    std::string frame = full_changeset(space, todo_shape());
    Database db(space.scratch(full_db(space, todo_shape(), Tracked::no)));
    meter.note("bytes", static_cast<double>(frame.size()));
    meter.note("compressed_bytes", static_cast<double>(compress(frame).size()));
    meter.note("value_bytes", static_cast<double>(value_bytes(db, todo_shape())));
  };
}

// Changesets of 100 one-column changes (other titles): the median, uncompressed and compressed with zstd -3.
inline Side small_changeset_bytes() {
  return [](Workspace& space, Meter& meter) {
    std::vector<double> plain, compressed;
    for (const std::string& frame : small_changesets(space)) {
      plain.push_back(static_cast<double>(frame.size()));
      compressed.push_back(static_cast<double>(compress(frame).size()));
    }
    meter.note("bytes", median(plain));
    meter.note("compressed_bytes", median(compressed));
  };
}

inline std::vector<Case> size_cases() {
  return {
      {"file_size", file_size(Tracked::no), file_size(Tracked::yes)},
      {"changeset_bytes", {}, full_changeset_bytes()},
      {"changeset_100_bytes", {}, small_changeset_bytes()},
  };
}

}  // namespace rejoin::bench

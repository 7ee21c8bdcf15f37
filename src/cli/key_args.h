// A row's key as people type it.
#pragma once

#include <CLI/App.hpp>
#include <deque>
#include <string>
#include <vector>

#include "base/result.h"
#include "crdt/value.h"
#include "sqlite/database.h"

namespace rejoin::cli {

struct KeyArguments {
  std::string file, table;
  std::vector<std::string> words;
  bool blob = false;  // the words are hexadecimal
  bool text = false;  // the words are text, whatever they look like
};

// The values own their bytes through `storage`; moving the struct is fine, copying is not.
struct Key {
  Key() = default;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  Key(Key&&) = default;
  std::deque<std::string> storage;
  std::vector<crdt::ValueRef> values;
};

// One word becomes a value by its column's declared type: an integer or real where the column would store one (SQLite's
// affinity rules, https://www.sqlite.org/datatype3.html#determination_of_column_affinity), x'0aff' a blob, anything
// else text. Errors: bad_argument when the number of words is not the number of key columns, or --blob with something
// that is not hexadecimal.
Result<Key> parse_key(sqlite::Database& database, const sqlite::TableInfo& table, const KeyArguments& arguments);

// FILE TABLE KEY... --blob --text
void add_key_options(CLI::App& command, KeyArguments& arguments);

// For messages: todos ["5c1e…"]
std::string key_text(const sqlite::TableInfo& table, const Key& key);

}  // namespace rejoin::cli

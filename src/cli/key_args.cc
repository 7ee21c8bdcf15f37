#include "cli/key_args.h"

#include <charconv>
#include <cmath>

#include "cli/units.h"
#include "contract/contract.h"
#include "crdt/key.h"

namespace rejoin::cli {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// Does a column of this (upper-case) type turn text that looks like a number into one?
bool stores_numbers(std::string_view type) {
  if (contains(type, "INT")) return true;
  if (contains(type, "CHAR") || contains(type, "CLOB") || contains(type, "TEXT")) return false;
  return true;  // REAL, NUMERIC and blob affinity; the last keeps what it is given, and numbers are what people mean by
                // 42
}

template <class T>
bool whole_number(std::string_view word, T& value) {
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

void add_bytes(Key& key, std::string bytes, bool blob) {
  key.storage.push_back(std::move(bytes));
  const std::string& kept = key.storage.back();
  key.values.push_back(blob ? crdt::ValueRef::of_blob(kept) : crdt::ValueRef::of_text(kept));
}

Status add_word(Key& key, const std::string& word, std::string_view type, const KeyArguments& arguments) {
  std::string bytes;
  if (arguments.text) return add_bytes(key, word, false), Status();
  if (arguments.blob) {
    if (!from_hex(word, bytes))
      return fail(Code::bad_argument,
                  "'" + word + "' is not hexadecimal, which --blob asks for; write two digits for each byte");
    return add_bytes(key, std::move(bytes), true), Status();
  }
  if (word.size() >= 3 && (word[0] == 'x' || word[0] == 'X') && word[1] == '\'' && word.back() == '\'' &&
      from_hex(std::string_view(word).substr(2, word.size() - 3), bytes))
    return add_bytes(key, std::move(bytes), true), Status();
  int64_t integer = 0;
  double real = 0;
  if (stores_numbers(type) && whole_number(word, integer)) {
    bool is_real = contains(type, "REAL") || contains(type, "FLOA") || contains(type, "DOUB");
    key.values.push_back(is_real ? crdt::ValueRef::of_real(static_cast<double>(integer))
                                 : crdt::ValueRef::of_integer(integer));
  } else if (stores_numbers(type) && whole_number(word, real) && std::isfinite(real)) {
    key.values.push_back(crdt::ValueRef::of_real(real));
  } else {
    add_bytes(key, word, false);
  }
  return {};
}

}  // namespace

Result<Key> parse_key(sqlite::Database& database, const sqlite::TableInfo& table, const KeyArguments& arguments) {
  if (arguments.words.size() != table.key.size()) {
    std::string names;
    for (const std::string& name : table.key) names += (names.empty() ? "" : ", ") + name;
    return fail(Code::bad_argument, "the key of '" + table.name + "' is (" + names + "): give " +
                                        counted(table.key.size(), "value") + ", not " +
                                        std::to_string(arguments.words.size()));
  }
  std::vector<std::string> types(table.key.size());
  REJOIN_ASSIGN(std::string json, database.replica().contract_json());
  REJOIN_ASSIGN(contract::Contract contract, contract::from_json(json));
  for (const contract::Table& declared : contract.tables) {
    if (declared.name != table.name) continue;
    for (size_t i = 0; i < table.key.size(); ++i)
      for (const contract::Column& column : declared.columns)
        if (column.name == table.key[i]) types[i] = column.type;
  }
  Key key;
  for (size_t i = 0; i < types.size(); ++i) REJOIN_TRY(add_word(key, arguments.words[i], types[i], arguments));
  return key;
}

void add_key_options(CLI::App& command, KeyArguments& arguments) {
  command.add_option("FILE", arguments.file, "The SQLite database")->required();
  command.add_option("TABLE", arguments.table, "The table")->required();
  command.add_option("KEY", arguments.words, "The row's primary key, one value for each of its columns")->required();
  CLI::Option* blob = command.add_flag("--blob", arguments.blob, "The key's values are hexadecimal bytes");
  command.add_flag("--text", arguments.text, "The key's values are text, even where they look like numbers")
      ->excludes(blob);
}

std::string key_text(const sqlite::TableInfo& table, const Key& key) {
  Bytes encoded;
  crdt::encode_key(key.values, encoded);
  return table.name + " " + crdt::key_json(encoded, key.values.size());
}

}  // namespace rejoin::cli

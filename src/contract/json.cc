// The contract as canonical JSON, and back.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <cmath>
#include <set>

#include "contract/contract.h"
#include "crdt/print.h"

namespace rejoin::contract {
namespace {

namespace json = boost::json;
using crdt::json_string;

constexpr size_t kMaxJsonBytes = 64 << 20;
constexpr size_t kMaxDepth = 8;

Error refuse(const std::string& place, const std::string& cause) {
  return fail(Code::bad_argument, "contract: " + place + " " + cause);
}

// --- writing
// -------------------------------------------------------------------------------------------------------------------

// Reals as strings: what JSON parsers make of numbers differs. The shortest text that reads back to the same bits.
std::string real_text(double v) {
  if (std::isinf(v)) return v < 0 ? "-inf" : "inf";
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, v);
  return std::string(buffer, end);
}

void put_literal(std::string& out, const Literal& literal) {
  struct Writer {
    std::string& out;
    void operator()(std::monostate) { out += "null"; }
    void operator()(int64_t v) { out += std::to_string(v); }
    void operator()(double v) { out += "{\"real\":\"" + real_text(v) + "\"}"; }
    void operator()(const std::string& v) { out += json_string(v); }
    void operator()(const Blob& v) { out += "{\"blob\":\"" + to_hex(v.bytes) + "\"}"; }
  };
  std::visit(Writer{out}, literal);
}

void put_flag(std::string& out, const char* name, bool value) {
  out += ",\"";
  out += name;
  out += value ? "\":true" : "\":false";
}

void put_column(std::string& out, const Column& column) {
  out += "{";
  if (column.default_value) {
    out += "\"default\":";
    put_literal(out, *column.default_value);
    out += ",";
  }
  out += "\"name\":" + json_string(column.name);
  put_flag(out, "not_null", column.not_null);
  out += ",\"type\":" + json_string(column.type) + "}";
}

void put_table(std::string& out, const Table& table) {
  out += "{\"columns\":[";
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (i) out += ",";
    put_column(out, table.columns[i]);
  }
  out += "]";
  put_flag(out, "integer_key", table.integer_key);
  out += ",\"key\":[";
  for (size_t i = 0; i < table.key.size(); ++i) out += (i ? "," : "") + json_string(table.key[i]);
  out += "],\"name\":" + json_string(table.name);
  put_flag(out, "strict", table.strict);
  put_flag(out, "without_rowid", table.without_rowid);
  out += "}";
}

// --- reading
// -------------------------------------------------------------------------------------------------------------------

// Listens to a parser for the one thing that a parsed json::value no longer shows: a member that stands twice in one
// object.
struct DuplicateFinder {
  static constexpr size_t max_object_size = ~size_t{0};
  static constexpr size_t max_array_size = ~size_t{0};
  static constexpr size_t max_key_size = ~size_t{0};
  static constexpr size_t max_string_size = ~size_t{0};

  std::vector<std::set<std::string>> open;
  std::string key;
  std::string twice;

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return open.emplace_back(), true; }
  bool on_object_end(size_t, json::error_code&) { return open.pop_back(), true; }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(size_t, json::error_code&) { return true; }
  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    return key.append(part.data(), part.size()), true;
  }
  bool on_key(json::string_view part, size_t, json::error_code& error) {
    key.append(part.data(), part.size());
    if (!open.back().insert(key).second) {
      twice = key;
      error = json::error::syntax;
      return false;
    }
    key.clear();
    return true;
  }
  bool on_string_part(json::string_view, size_t, json::error_code&) { return true; }
  bool on_string(json::string_view, size_t, json::error_code&) { return true; }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t, json::string_view, json::error_code&) { return true; }
  bool on_uint64(uint64_t, json::string_view, json::error_code&) { return true; }
  bool on_double(double, json::string_view, json::error_code&) { return true; }
  bool on_bool(bool, json::error_code&) { return true; }
  bool on_null(json::error_code&) { return true; }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }
};

json::parse_options strict_options() {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  return options;
}

Status check_members_once(std::string_view text) {
  json::basic_parser<DuplicateFinder> parser(strict_options());
  json::error_code error;
  size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!parser.handler().twice.empty())
    return refuse("member " + json_string(parser.handler().twice), "stands twice in one object; remove one");
  if (error || used != text.size())
    return refuse("byte " + std::to_string(used), "is where this stops being JSON (" + error.message() + ")");
  return {};
}

// An object whose members are taken one by one; what is left at the end is unknown.
class ObjectReader {
 public:
  ObjectReader(const json::object& object, std::string place) : object_(object), place_(std::move(place)) {}

  const json::value* optional(std::string_view name) {
    const json::value* value = object_.if_contains(json::string_view(name.data(), name.size()));
    taken_ += value != nullptr;
    return value;
  }
  Result<const json::value*> take(std::string_view name) {
    if (const json::value* value = optional(name)) return value;
    return refuse(at(name), "is missing");
  }
  Result<std::string> string(std::string_view name) {
    REJOIN_ASSIGN(const json::value* value, take(name));
    if (!value->is_string()) return refuse(at(name), "is not a string");
    return std::string(value->get_string().data(), value->get_string().size());
  }
  Result<bool> flag(std::string_view name) {
    REJOIN_ASSIGN(const json::value* value, take(name));
    if (!value->is_bool()) return refuse(at(name), "is neither true nor false");
    return value->get_bool();
  }
  Result<const json::array*> array(std::string_view name, size_t limit) {
    REJOIN_ASSIGN(const json::value* value, take(name));
    if (!value->is_array()) return refuse(at(name), "is not an array");
    if (value->get_array().size() > limit)
      return refuse(at(name), "has more than " + std::to_string(limit) + " elements");
    return &value->get_array();
  }
  // `known`: the names of all members.
  Status nothing_else(std::initializer_list<std::string_view> known) const {
    if (taken_ == object_.size()) return {};
    for (const auto& member : object_) {
      std::string_view name(member.key().data(), member.key().size());
      if (std::find(known.begin(), known.end(), name) == known.end())
        return refuse(at(name), "is not a member that contracts have");
    }
    return {};
  }
  std::string at(std::string_view name) const {
    return place_.empty() ? std::string(name) : place_ + "." + std::string(name);
  }

 private:
  const json::object& object_;
  std::string place_;
  size_t taken_ = 0;
};

Result<Literal> read_real(const std::string& place, std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(value) || real_text(value) != text)
    return refuse(place, "is not a real in its shortest form, such as \"1.5\", \"1e+300\" or \"-inf\"");
  return Literal(value);
}

Result<Literal> read_blob(const std::string& place, std::string_view text) {
  std::optional<Bytes> bytes = from_hex(text);
  if (!bytes || to_hex(*bytes) != text) return refuse(place, "is not lower-case hexadecimal");
  return Literal(Blob{*std::move(bytes)});
}

Result<Literal> read_literal(const std::string& place, const json::value& value) {
  if (value.is_null()) return Literal(std::monostate());
  if (value.is_int64()) return Literal(value.get_int64());
  if (value.is_string()) return Literal(std::string(value.get_string().data(), value.get_string().size()));
  if (value.is_object() && value.get_object().size() == 1) {
    const auto& member = *value.get_object().begin();
    std::string_view name(member.key().data(), member.key().size());
    if (member.value().is_string()) {
      std::string_view text(member.value().get_string().data(), member.value().get_string().size());
      if (name == "real") return read_real(place + ".real", text);
      if (name == "blob") return read_blob(place + ".blob", text);
    }
  }
  return refuse(place, "is not a literal: null, a 64-bit integer, a string, {\"real\":\"1.5\"} or {\"blob\":\"0aff\"}");
}

Result<Column> read_column(const std::string& place, const json::value& value) {
  if (!value.is_object()) return refuse(place, "is not an object");
  ObjectReader in(value.get_object(), place);
  Column column;
  REJOIN_ASSIGN(column.name, in.string("name"));
  REJOIN_ASSIGN(column.type, in.string("type"));
  REJOIN_ASSIGN(column.not_null, in.flag("not_null"));
  if (const json::value* literal = in.optional("default")) {
    REJOIN_ASSIGN(column.default_value, read_literal(in.at("default"), *literal));
  }
  if (const json::value* merge = in.optional("merge")) {
    if (!merge->is_string() || merge->get_string() != "lww")
      return refuse(in.at("merge"),
                    "is no kind of merge that this version knows: write \"lww\", leave it out, or use a newer Rejoin");
  }
  REJOIN_TRY(in.nothing_else({"name", "type", "not_null", "default", "merge"}));
  return column;
}

Result<Table> read_table(const std::string& place, const json::value& value) {
  if (!value.is_object()) return refuse(place, "is not an object");
  ObjectReader in(value.get_object(), place);
  Table table;
  REJOIN_ASSIGN(table.name, in.string("name"));
  REJOIN_ASSIGN(table.integer_key, in.flag("integer_key"));
  REJOIN_ASSIGN(table.strict, in.flag("strict"));
  REJOIN_ASSIGN(table.without_rowid, in.flag("without_rowid"));
  REJOIN_ASSIGN(const json::array* key, in.array("key", kMaxColumns));
  for (const json::value& name : *key) {
    if (!name.is_string()) return refuse(in.at("key"), "holds something that is not a string");
    table.key.emplace_back(name.get_string().data(), name.get_string().size());
  }
  REJOIN_ASSIGN(const json::array* columns, in.array("columns", kMaxColumns));
  table.columns.reserve(columns->size());
  for (size_t i = 0; i < columns->size(); ++i) {
    REJOIN_ASSIGN(Column column, read_column(in.at("columns") + "[" + std::to_string(i) + "]", (*columns)[i]));
    table.columns.push_back(std::move(column));
  }
  REJOIN_TRY(in.nothing_else({"name", "integer_key", "strict", "without_rowid", "key", "columns"}));
  return table;
}

}  // namespace

std::string to_json(const Contract& contract) {
  std::vector<const Table*> tables;
  for (const Table& table : contract.tables) tables.push_back(&table);
  std::stable_sort(tables.begin(), tables.end(), [](const Table* a, const Table* b) { return a->name < b->name; });
  std::string out = "{\"tables\":[";
  for (size_t i = 0; i < tables.size(); ++i) {
    if (i) out += ",";
    put_table(out, *tables[i]);
  }
  return out + "]}";
}

Result<Contract> from_json(std::string_view text) {
  if (text.size() > kMaxJsonBytes) return refuse("the text", "is longer than 64 MiB");
  REJOIN_TRY(check_members_once(text));
  json::error_code error;
  json::value root = json::parse(json::string_view(text.data(), text.size()), error, {}, strict_options());
  if (error) return refuse("the text", "is no JSON (" + error.message() + ")");
  if (!root.is_object()) return refuse("the text", "is not a JSON object");
  ObjectReader in(root.get_object(), "");
  REJOIN_ASSIGN(const json::array* tables, in.array("tables", kMaxTables));
  Contract contract;
  contract.tables.reserve(tables->size());
  for (size_t i = 0; i < tables->size(); ++i) {
    REJOIN_ASSIGN(Table table, read_table("tables[" + std::to_string(i) + "]", (*tables)[i]));
    contract.tables.push_back(std::move(table));
  }
  REJOIN_TRY(in.nothing_else({"tables"}));
  std::sort(contract.tables.begin(), contract.tables.end(),
            [](const Table& a, const Table& b) { return a.name < b.name; });
  REJOIN_TRY(check(contract));
  return contract;
}

std::string fingerprint(const Contract& contract) {
  std::string text = to_json(contract);
  XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  Bytes bytes;
  put_be64(bytes, hash.high64);
  put_be64(bytes, hash.low64);
  return to_hex(bytes);
}

}  // namespace rejoin::contract

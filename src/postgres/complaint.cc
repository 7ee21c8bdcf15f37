#include "postgres/complaint.h"

#include <algorithm>
#include <cctype>

#include "crdt/key.h"

namespace rejoin::postgres {
namespace {

std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t comma = list.find(", ");
    out.push_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return out;
    list.remove_prefix(comma + 2);
  }
}

// The columns and the values that a detail names; none: it names no values.
struct Named {
  std::vector<std::string_view> columns, values;
};

Named read_detail(std::string_view detail) {
  constexpr std::string_view kBetween = ")=(";
  const size_t between = detail.find(kBetween), start = detail.find('('), end = detail.rfind(')');
  const size_t values = between + kBetween.size();
  if (between == std::string_view::npos || start >= between || end < values) return {};
  Named out{split(detail.substr(start + 1, between - start - 1)), split(detail.substr(values, end - values))};
  // A value with a comma.
  return out.columns.size() == out.values.size() ? out : Named();
}

// An expression is named as it was written, and may have changed the value's case: lower(email).
bool is_of(std::string_view named, const Column& column) { return named == column.name || named == column.quoted; }
bool is_made_of(std::string_view named, const Column& column) {
  if (named.find('(') == std::string_view::npos || column.name.empty()) return false;
  auto in_a_word = [&](size_t at) {
    const auto c = at < named.size() ? static_cast<unsigned char>(named[at]) : ' ';
    return std::isalnum(c) || c == '_' || c == '$' || c >= 0x80;
  };
  for (size_t at = 0; (at = named.find(column.name, at)) != std::string_view::npos; ++at)
    if ((at == 0 || !in_a_word(at - 1)) && !in_a_word(at + column.name.size())) return true;
  return false;
}

}  // namespace

bool is_about(const SqlError& error, const WrittenRow& row) {
  const bool reference = error.state == "23503";
  if (!reference && error.state != "23505") return false;
  // Of a parent that was deleted it names the child's table.
  if (row.deleted ? !reference : row.table->display != error.relation) return false;
  const Named named = read_detail(error.detail);
  bool some = false, differs = false;
  auto compare = [&](const Column& column, const crdt::ValueRef& value, bool key) {
    for (size_t i = 0; i < named.columns.size(); ++i) {
      const bool made_of = is_made_of(named.columns[i], column);
      if (!made_of && !is_of(named.columns[i], column)) continue;
      auto text = key ? key_text_of(column.type, value) : text_of(column.type, value);
      if (!text.ok()) continue;
      const bool same = value.type != crdt::ValueType::null &&
                        (made_of ? same_name(*text, named.values[i]) : *text == named.values[i]);
      (same ? some : differs) = true;
    }
  };
  for (const auto& [c, value] : *row.values)
    if (c < row.table->columns.size()) compare(row.table->columns[c], value.ref(), false);
  std::vector<crdt::ValueRef> key;
  Bytes scratch;
  if (crdt::decode_key(row.key, row.table->key.size(), key, scratch))
    for (size_t i = 0; i < key.size(); ++i) compare(row.table->key[i], key[i], true);
  return some && !differs;
}

std::vector<std::string> named_values(const SqlError& error) {
  const Named named = read_detail(error.detail);
  return {named.values.begin(), named.values.end()};
}

std::vector<std::string> offered_values(const WrittenRow& row) {
  std::vector<std::string> out;
  if (row.deleted) return out;
  for (const auto& [c, value] : *row.values) {
    if (c >= row.table->columns.size() || !row.table->unique.has(c)) continue;
    if (auto text = text_of(row.table->columns[c].type, value.ref()); text.ok()) out.push_back(std::move(*text));
  }
  std::vector<crdt::ValueRef> key;
  Bytes scratch;
  if (crdt::decode_key(row.key, row.table->key.size(), key, scratch))
    for (size_t i = 0; i < key.size(); ++i)
      if (auto text = key_text_of(row.table->key[i].type, key[i]); text.ok()) out.push_back(std::move(*text));
  return out;
}

}  // namespace rejoin::postgres

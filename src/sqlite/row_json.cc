#include "sqlite/row_json.h"

#include "crdt/key.h"
#include "crdt/print.h"

namespace rejoin::sqlite {

std::string row_json(const codec::OneRow& row) {
  std::vector<crdt::ValueRef> key;
  Bytes scratch;
  if (!crdt::decode_key(row.key, row.table.key.size(), key, scratch)) return {};
  std::string out;
  auto add = [&](const std::string& name, const crdt::ValueRef& value) {
    out += (out.empty() ? "{" : ",") + crdt::json_string(name) + ":" + crdt::value_json(value);
  };
  for (size_t i = 0; i < key.size(); ++i) add(row.table.key[i], key[i]);
  for (const auto& [c, value] : row.values) add(row.table.columns[c], value.ref());
  return out + "}";
}

std::string columns_json(const codec::OneRow& row) {
  std::string out;
  for (const auto& [c, value] : row.values) out += (out.empty() ? "[" : ",") + crdt::json_string(row.table.columns[c]);
  return out.empty() ? "[]" : out + "]";
}

}  // namespace rejoin::sqlite

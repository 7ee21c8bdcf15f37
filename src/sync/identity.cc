#include "sync/identity.h"

namespace rejoin::sync {
namespace {

std::string lower(std::string_view name) {
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

TableRight both(TableRight a, TableRight b) { return {a.pull && b.pull, a.push && b.push}; }

}  // namespace

void TableRights::set(std::string_view table, TableRight right) { named_[lower(table)] = right; }

TableRight TableRights::of(std::string_view table) const {
  if (named_.empty()) return {};
  auto found = named_.find(lower(table));
  if (found == named_.end()) found = named_.find("*");
  return found == named_.end() ? TableRight() : found->second;
}

void TableRights::intersect(const TableRights& other) {
  TableRights out;
  for (const auto& [name, right] : named_) out.named_[name] = both(right, other.of(name));
  for (const auto& [name, right] : other.named_) out.named_[name] = both(right, of(name));
  named_ = std::move(out.named_);
}

std::string TableRights::text() const {
  std::string out;
  for (const auto& [name, right] : named_)
    out += std::to_string(name.size()) + ":" + name + (right.pull ? "r" : "-") + (right.push ? "w" : "-");
  return out;
}

}  // namespace rejoin::sync

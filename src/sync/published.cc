#include "sync/published.h"

#include <algorithm>

namespace rejoin::sync {

std::vector<contract::Difference> not_followed(const contract::Contract& before, bool published,
                                               const contract::Contract& next) {
  using Kind = contract::Difference::Kind;
  std::vector<contract::Difference> found = contract::not_additive(before, next);
  if (published) return found;
  const auto of_the_server = [&](const contract::Difference& d) {
    if (d.kind == Kind::column_changed || d.kind == Kind::table_changed) return true;
    if (d.kind != Kind::key_changed) return false;
    const auto named = [&](const contract::Table& t) { return t.name == d.table; };
    const auto a = std::find_if(before.tables.begin(), before.tables.end(), named);
    const auto b = std::find_if(next.tables.begin(), next.tables.end(), named);
    return a != before.tables.end() && b != next.tables.end() && a->key == b->key;
  };
  found.erase(std::remove_if(found.begin(), found.end(), of_the_server), found.end());
  return found;
}

Status check_follows(const std::string& published, const std::string& own, const contract::Contract& next) {
  REJOIN_ASSIGN(const contract::Contract before, contract::from_json(published.empty() ? own : published));
  const std::vector<contract::Difference> found = not_followed(before, !published.empty(), next);
  if (found.empty()) return {};
  std::string list;
  for (const contract::Difference& d : found) list += (list.empty() ? "" : "; ") + contract::to_text(d);
  return fail(Code::schema_refused,
              "the contract is not additive to what " +
                  std::string(published.empty() ? "the server has" : "devices were given before") + ": " + list +
                  ". Devices can follow new tables, and new columns that may be NULL or have a default");
}

}  // namespace rejoin::sync

#include "sync/published.h"

#include <algorithm>
#include <string_view>

namespace rejoin::sync {
namespace {

const contract::Column* column_of(const contract::Contract& contract, const contract::Difference& named) {
  for (const contract::Table& t : contract.tables)
    if (t.name == named.table)
      for (const contract::Column& c : t.columns)
        if (c.name == named.column) return &c;
  return nullptr;
}

// Would a column of one type store what the other gives as another value? Dates, JSON and the like are declared in many
// ways, and hold what they are given.
bool contradict(std::string_view one, std::string_view other) {
  enum class Holds { anything, integers, reals, numbers, texts, blobs, as_written };
  const auto holds = [](std::string_view type) {
    const auto has = [&](std::string_view word) { return type.find(word) != std::string_view::npos; };
    if (type.empty() || type == "ANY") return Holds::anything;
    if (has("INT") || type.starts_with("BOOL")) return Holds::integers;
    if (has("CHAR") || has("CLOB") || has("TEXT")) return Holds::texts;
    if (has("BLOB")) return Holds::blobs;
    if (has("REAL") || has("FLOA") || has("DOUB")) return Holds::reals;
    return type.starts_with("NUMERIC") || type.starts_with("DECIMAL") ? Holds::numbers : Holds::as_written;
  };
  const Holds a = holds(one), b = holds(other);
  if (a == b || a == Holds::anything || b == Holds::anything) return false;
  if (a == Holds::blobs || b == Holds::blobs) return true;
  if (a == Holds::as_written || b == Holds::as_written) return false;
  return a == Holds::texts || b == Holds::texts || (a != Holds::numbers && b != Holds::numbers);
}

}  // namespace

std::vector<contract::Difference> not_followed(const contract::Contract& before, bool published,
                                               const contract::Contract& next) {
  using Kind = contract::Difference::Kind;
  std::vector<contract::Difference> found = contract::not_additive(before, next);
  if (published) return found;
  const auto of_the_server = [&](const contract::Difference& d) {
    if (d.kind == Kind::table_changed) return true;
    if (d.kind == Kind::column_changed) {
      const contract::Column *a = column_of(before, d), *b = column_of(next, d);
      return !a || !b || !contradict(a->type, b->type);
    }
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
  for (const contract::Difference& d : found) {
    list += (list.empty() ? "" : "; ") + contract::to_text(d);
    const contract::Column *a = column_of(before, d), *b = column_of(next, d);
    if (a && b && a->type != b->type) list += " (its type is " + a->type + ", not " + b->type + ")";
  }
  return fail(Code::schema_refused,
              "the contract is not additive to what " +
                  std::string(published.empty() ? "the server has" : "devices were given before") + ": " + list +
                  ". Devices can follow new tables, and new columns that may be NULL or have a default");
}

}  // namespace rejoin::sync

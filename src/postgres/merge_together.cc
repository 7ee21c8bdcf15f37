// The end of a merge: rows that wait for others, those that PostgreSQL takes only together, those that it does not
// take.
#include <algorithm>
#include <set>
#include <unordered_set>

#include "postgres/merge_incoming.h"

namespace rejoin::postgres {
namespace {

constexpr const char* kNotTaken =
    "PostgreSQL did not take the row: a policy or a trigger kept it out, or its key is another tenant's";
constexpr int kMostPasses = 8;           // over rows that wait for each other
constexpr size_t kMostWritten = 20'000;  // rows, over all attempts
constexpr int kMostGenerations = 64;     // of children of orphans

}  // namespace

// Row-level security hides a row from UPDATE and DELETE without a word.
void Merge::refuse_not_taken(const Incoming& row) {
  if (options_.persona.on()) return refuse(row, Code::forbidden, kRoleMayNot);
  refuse(row, Code::refused, kNotTaken);
}

void Merge::refuse_by(const Incoming& row, const SqlError& error) {
  if (options_.persona.on() && error.state == "42501") {
    refuse(row, Code::forbidden, kRoleMayNot);
    return;
  }
  // "Failing row contains …": with columns that devices don't see.
  const bool whole_row = error.state == "23502" || error.state == "23514";
  refuse(row, error.state == "42501" ? Code::forbidden : Code::refused,
         error.state.empty()
             ? error.message
             : "PostgreSQL refused the row: " + error.message +
                   (error.detail.empty() || whole_row ? "" : " (" + error.detail + ")") + " [" + error.state + "]");
}

// All at once, as they are. Gives why PostgreSQL did not take them.
Result<std::optional<SqlError>> Merge::try_together(Rows_ rows) {
  std::vector<Incoming*> again;
  const Held before = held();
  REJOIN_ASSIGN(const Tried tried, try_rows(rows, Hope::none, again));
  if (tried != Tried::taken) return std::optional(undo(before));
  REJOIN_TRY(merge_rows(again, Hope::none, 1));
  return std::optional<SqlError>();
}

// Those whose parent neither is there nor waits, and their children: nothing that comes now can help them.
void Merge::refuse_orphans() {
  for (int generation = 0; generation < kMostGenerations; ++generation) {
    std::unordered_set<std::string> offered;
    for (const auto& row : waiting_)
      for (std::string& value : offered_values(row->written())) offered.insert(std::move(value));
    const size_t waited = waiting_.size();
    std::erase_if(waiting_, [&](const std::unique_ptr<Incoming>& row) {
      if (row->error.state != "23503" || !is_about(row->error, row->written()) || row->written().deleted) return false;
      const std::vector<std::string> named = named_values(row->error);
      if (std::all_of(named.begin(), named.end(), [&](const std::string& v) { return offered.contains(v); }))
        return false;
      refuse_by(*row, row->error);
      return true;
    });
    if (waiting_.size() == waited) return;
  }
}

// Tries the waiting rows together, without those of which PostgreSQL complains, one complaint after the other. Where
// several want one value, leaving out one of them may do; where it does not say whom it means, any may be it. Gives
// whether any were taken; the others go on waiting.
Result<bool> Merge::merge_together() {
  std::vector<Incoming*> rows;
  std::set<std::pair<const Table*, BytesView>> known;
  for (auto& row : waiting_)
    if (known.emplace(row->table, row->key).second) rows.push_back(row.get());
  std::vector<std::unique_ptr<Incoming>> all = std::exchange(waiting_, {});
  const size_t waited = all.size();
  size_t written = 0;
  auto attempt = [&](Rows_ some) -> Result<std::optional<SqlError>> {
    written += some.size();
    REJOIN_ASSIGN(std::optional<SqlError> error, try_together(some));
    if (error) return error;
    const std::set<const Incoming*> taken(some.begin(), some.end());
    for (auto& row : all)
      if (!taken.contains(row.get())) waiting_.push_back(std::move(row));
    return error;
  };
  while (rows.size() > 1 && written + rows.size() <= kMostWritten) {
    REJOIN_ASSIGN(const std::optional<SqlError> error, attempt(rows));
    if (!error) return waiting_.size() < waited;
    std::vector<Incoming*> meant;
    for (Incoming* row : rows) {
      if (is_about(*error, row->written())) meant.push_back(row);
    }
    const bool unsaid = meant.empty();
    if (unsaid) meant = rows;
    const bool one_of_them = unsaid || (meant.size() > 1 && error->state == "23505");
    for (size_t i = meant.size(); one_of_them && i > 0 && written + rows.size() <= kMostWritten; --i) {
      std::vector<Incoming*> rest = rows;
      std::erase(rest, meant[i - 1]);
      REJOIN_ASSIGN(const std::optional<SqlError> other, attempt(rest));
      if (!other) return waiting_.size() < waited;
    }
    if (unsaid) break;
    std::erase_if(rows, [&](Incoming* row) { return std::find(meant.begin(), meant.end(), row) != meant.end(); });
  }
  waiting_ = std::move(all);
  return false;
}

Status Merge::finish() {
  for (int pass = 0; !waiting_.empty(); ++pass) {
    std::vector<std::unique_ptr<Incoming>> waiting = std::exchange(waiting_, {});
    std::vector<Incoming*> rows;
    for (auto& row : waiting) rows.push_back(row.get());
    REJOIN_TRY(merge_in_turn(std::move(rows)));
    if (last_try_) break;
    refuse_orphans();
    const bool stuck = waiting_.size() == waiting.size() || pass >= kMostPasses;
    if (stuck && aside_) {
      REJOIN_ASSIGN(const bool some, merge_together());
      last_try_ = !some || pass >= kMostPasses;
    }
    aside_ = stuck && !aside_;
  }
  log_.send(work_);
  // The pusher has them, and its own pages leave them out.
  if (!shown_.empty()) note_shown(work_, options_.persona.view(), shown_);
  return {};
}

}  // namespace rejoin::postgres

// Which of several hidden rows can be shown: the most that can be shown together, each with its parents.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "sqlite/enforcement.h"
#include "sqlite/hidden_row.h"

namespace rejoin::sqlite {

class Choice {
 public:
  // The application's triggers and temporary ones must be off where stand-ins are tried: `enforcement` is ended then.
  Choice(Context& ctx, Enforcement& enforcement) : ctx_(ctx), enforcement_(enforcement) {}

  // Sets `out`, `without` and `reason` of each. Rows that are not among them are visible, or stay hidden.
  Status run(const std::vector<HiddenRow*>& rows);
  // Has a parent of such a row come, that could not be told from the values of hidden rows?
  Result<bool> found_parent(const HiddenRow& row);

 private:
  using Reference = std::vector<crdt::ValueRef>;
  // Hidden rows by what others refer to: (table, columns), values.
  using Target = std::pair<uint64_t, std::vector<int>>;
  Result<HiddenRow::Parent> find_parent(const ForeignKey& f, const Reference& values,
                                        const std::vector<HiddenRow*>& rows);
  Result<bool> is_visible(const ForeignKey& f, const Reference& values);
  Result<Bytes> compared(const ForeignKey& f, const Reference& values);
  Result<bool> decide(HiddenRow& h);
  Result<std::string> refusal(const HiddenRow& stand_in);

  Context& ctx_;
  Enforcement& enforcement_;
  std::map<Target, std::map<Bytes, std::vector<HiddenRow*>>> targets_;
  std::optional<EnforcementOff> off_;
};

}  // namespace rejoin::sqlite

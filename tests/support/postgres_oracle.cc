#include "tests/support/postgres_oracle.h"

#include <algorithm>

namespace rejoin::testing {
namespace {

std::string joined(const ModelCells& cells) {
  std::string out;
  for (const std::string& c : cells) out += (out.empty() ? "" : "|") + c;
  return out;
}

ModelWrite inserted(const ModelRow& row, const ModelCells& cells) {
  ModelWrite out{ModelWrite::insert, row, {}, 0, 0, 0};
  for (size_t c = 0; c < cells.size(); ++c) out.cells[static_cast<int>(c)] = cells[c];
  return out;
}

}  // namespace

bool ModelWrite::before(const ModelWrite& other) const {
  const bool exact = lo == hi && other.lo == other.hi;
  return exact && lo == other.lo ? order < other.order : hi < other.lo;
}

std::vector<ModelWrite> writes_between(const ModelRows& before, const ModelRows& after,
                                       const std::set<ModelRow>& anew) {
  std::vector<ModelWrite> out;
  for (const auto& [row, cells] : before)
    if (!after.count(row) || anew.count(row)) out.push_back({ModelWrite::remove, row, {}, 0, 0, 0});
  for (const auto& [row, cells] : after) {
    const auto was = before.find(row);
    if (was == before.end() || anew.count(row)) {
      out.push_back(inserted(row, cells));
      continue;
    }
    ModelWrite write{ModelWrite::update, row, {}, 0, 0, 0};
    for (size_t c = 0; c < cells.size(); ++c)
      if (cells[c] != was->second[c]) write.cells[static_cast<int>(c)] = cells[c];
    if (!write.cells.empty()) out.push_back(std::move(write));
  }
  return out;
}

size_t ModelOracle::add(ModelWrite write) {
  write.order = static_cast<int64_t>(writes_.size());
  by_row_[write.row].push_back(writes_.size());
  writes_.push_back(std::move(write));
  return writes_.size() - 1;
}

void ModelOracle::forget(size_t place) { std::erase(by_row_[writes_[place].row], place); }

std::set<ModelRow> ModelOracle::rows() const {
  std::set<ModelRow> out;
  for (const auto& entry : by_row_) out.insert(entry.first);
  return out;
}

std::set<std::string> ModelOracle::values(const ModelRow& row, int column) const {
  std::set<std::string> out;
  if (const auto found = by_row_.find(row); found != by_row_.end())
    for (size_t place : found->second)
      if (const auto cell = writes_[place].cells.find(column); cell != writes_[place].cells.end())
        out.insert(cell->second);
  return out;
}

// Those that no other is certainly greater than.
std::vector<const ModelWrite*> ModelOracle::greatest(const ModelRow& row, const std::set<ModelWrite::Kind>& sorts,
                                                     int column) const {
  std::vector<const ModelWrite*> all, out;
  const auto found = by_row_.find(row);
  if (found == by_row_.end()) return out;
  for (size_t place : found->second) {
    const ModelWrite& w = writes_[place];
    if (sorts.count(w.kind) && (column < 0 || w.cells.count(column))) all.push_back(&w);
  }
  for (const ModelWrite* w : all)
    if (std::none_of(all.begin(), all.end(), [&](const ModelWrite* other) { return w->before(*other); }))
      out.push_back(w);
  return out;
}

std::string ModelOracle::judge(const ModelRow& row, const ModelCells* shown, const std::vector<bool>& judged) const {
  const auto lives = greatest(row, {ModelWrite::insert, ModelWrite::remove, ModelWrite::restore}, -1);
  bool dead = lives.empty(), alive = false;
  for (const ModelWrite* w : lives) (w->kind == ModelWrite::remove ? dead : alive) = true;
  if (!alive && shown) return "is there, as " + joined(*shown) + ", though it was deleted";
  if (!dead && !shown) return "is not there";
  if (!shown) return "";
  for (size_t c = 0; c < shown->size(); ++c) {
    if (!judged[c]) continue;
    const auto winners = greatest(row, {ModelWrite::insert, ModelWrite::update}, static_cast<int>(c));
    const bool one = std::any_of(winners.begin(), winners.end(),
                                 [&](const ModelWrite* w) { return w->cells.at(static_cast<int>(c)) == (*shown)[c]; });
    if (!one)
      return "shows " + (*shown)[c] + " in column " + std::to_string(c) + ", where the newest write is " +
             (winners.empty() ? "none" : winners.front()->cells.at(static_cast<int>(c)));
  }
  return "";
}

std::string ModelOracle::history(const ModelRow& row) const {
  static const char* kKinds[] = {"insert", "remove", "restore", "update"};
  std::string out;
  const auto found = by_row_.find(row);
  if (found == by_row_.end()) return out;
  for (size_t place : found->second) {
    const ModelWrite& w = writes_[place];
    out += std::string("    ") + kKinds[w.kind] + " at " + std::to_string(w.lo >> 16) + "+" +
           std::to_string(w.lo & 0xffff);
    if (w.hi != w.lo) out += " to " + std::to_string(w.hi >> 16) + "+" + std::to_string(w.hi & 0xffff);
    for (const auto& [c, value] : w.cells) out += " " + std::to_string(c) + "=" + value;
    out += "\n";
  }
  return out;
}

}  // namespace rejoin::testing

#include "tests/support/postgres_script.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "base/random.h"

namespace rejoin::testing {
namespace {

// Operations by how often they are drawn.
using Weights = std::vector<std::pair<ModelOp, int>>;
const Weights kOfDevices{{ModelOp::insert, 16},    {ModelOp::update, 24},    {ModelOp::remove, 8},
                         {ModelOp::upsert, 5},     {ModelOp::rekey, 4},      {ModelOp::shift, 1},
                         {ModelOp::update_all, 2}, {ModelOp::remove_all, 1}, {ModelOp::begin, 3},
                         {ModelOp::commit, 3},     {ModelOp::rollback, 1},   {ModelOp::replace, 4},
                         {ModelOp::restore, 4},    {ModelOp::retry, 1},      {ModelOp::discard, 1},
                         {ModelOp::compact, 1},    {ModelOp::sync, 40}};
const Weights kOfSql{{ModelOp::insert, 16},    {ModelOp::update, 20},    {ModelOp::remove, 8},
                     {ModelOp::upsert, 6},     {ModelOp::rekey, 5},      {ModelOp::shift, 3},
                     {ModelOp::update_all, 3}, {ModelOp::remove_all, 1}, {ModelOp::insert_many, 4},
                     {ModelOp::copy, 1},       {ModelOp::merge, 3},      {ModelOp::truncate, 2},
                     {ModelOp::move, 3},       {ModelOp::compact, 1},    {ModelOp::track, 1}};

struct Dice {
  SeededRandom random;
  int below(int n) { return static_cast<int>(random.u64() % static_cast<uint64_t>(n)); }
  ModelOp draw(const Weights& weights) {
    int all = 0;
    for (const auto& [op, weight] : weights) all += weight;
    int at = below(all);
    for (const auto& [op, weight] : weights)
      if ((at -= weight) < 0) return op;
    return ModelOp::sync;
  }
};

template <size_t N>
std::optional<int> index_in(const std::array<const char*, N>& names, std::string_view name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) return std::nullopt;
  return static_cast<int>(at - names.begin());
}

std::string writer_name(int who) {
  return who < kModelDevices ? "d" + std::to_string(who) : "s" + std::to_string(who - kModelDevices);
}

bool read_step(const std::string& text, ModelStep& step) {
  std::istringstream in(text);
  std::string who, op, word;
  if (!(in >> who >> op) || who.size() != 2 || (who[0] != 'd' && who[0] != 's')) return false;
  step.who = who[1] - '0' + (who[0] == 's' ? kModelDevices : 0);
  const auto known = index_in(kModelOps, op);
  if (!known || step.who < 0 || step.who >= kModelDevices + kModelSessions || (who[0] == 'd') == step.sql())
    return false;
  step.op = static_cast<ModelOp>(*known);
  while (in >> word) {
    const size_t at = word.find('=');
    const std::string name = word.substr(0, at), value = at == std::string::npos ? "" : word.substr(at + 1);
    const bool digits =
        !value.empty() && value.size() < 9 && value.find_first_not_of("0123456789") == std::string::npos;
    if (name == "table" || name == "fault") {
      const auto of = name == "table" ? index_in(kModelTables, value) : index_in(kModelFaults, value);
      if (!of) return false;
      (name == "table" ? step.table : step.to) = *of;
    } else if (!digits) {
      return false;
    } else {
      int* field = name == "key" || name == "node" ? &step.key
                   : name == "to"                  ? &step.to
                   : name == "set" || name == "at" ? &step.set
                   : name == "with"                ? &step.table
                   : name == "v"                   ? &step.v
                                                   : nullptr;
      if (!field) return false;
      *field = std::stoi(value);
    }
  }
  return true;
}

}  // namespace

ModelScript generate_model(uint64_t seed) {
  Dice dice{SeededRandom(seed)};
  ModelScript out;
  out.seed = seed;
  out.foreign_keys = dice.below(3) > 0;
  out.deferred = dice.below(3) == 0;
  out.small_pages = dice.below(2) == 0;
  // Few tables at a time, so that writes meet.
  std::vector<int> tables;
  const int subject = dice.below(4);
  if (subject == 0) tables = {kItem, kLine};
  if (subject == 1) tables = {kPerson, kTask};
  if (subject == 2) tables = {kNote, kLine};
  if (subject == 3) tables = {kItem, kLine, kPerson, kTask, kNote};
  const int keys = 2 + dice.below(4);
  const auto step_of = [&](int who, ModelOp op, int table, int key) {
    const int to = op == ModelOp::sync ? 0 : (key + 1) % keys;
    out.steps.push_back({who, op, table, key, to, 1 + dice.below(7), dice.below(1000)});
  };
  // Most begin with rows that everybody has.
  if (dice.below(4) > 0) {
    for (int table : tables)
      for (int key = 0; key < keys; ++key)
        if (dice.below(4) > 0) step_of(dice.below(2) ? kModelDevices : 0, ModelOp::insert, table, key);
    for (int who : {0, 1, 0, 2}) step_of(who, ModelOp::sync, 0, 0);
  }
  std::array<bool, kModelSessions> open{};
  const int steps = 10 + dice.below(25);
  for (int i = 0; i < steps; ++i) {
    if (dice.below(8) == 0) {
      // A row that a device and an open transaction write.
      static const ModelOp kSql[] = {ModelOp::update, ModelOp::upsert, ModelOp::upsert,
                                     ModelOp::remove, ModelOp::rekey,  ModelOp::insert_many};
      static const ModelOp kDevice[] = {ModelOp::update, ModelOp::upsert, ModelOp::replace, ModelOp::remove,
                                        ModelOp::rekey};
      const int session = kModelDevices + 1 + dice.below(kModelSessions - 1), device = dice.below(3);
      const int table = tables[static_cast<size_t>(dice.below(static_cast<int>(tables.size())))];
      const int key = dice.below(keys);
      const bool device_first = dice.below(2);
      if (device_first) step_of(device, kDevice[dice.below(5)], table, key);
      if (!std::exchange(open[static_cast<size_t>(session - kModelDevices)], true))
        step_of(session, ModelOp::begin, table, key);
      step_of(session, kSql[dice.below(6)], table, key);
      if (!device_first) step_of(device, kDevice[dice.below(5)], table, key);
      if (dice.below(3) > 0) step_of(device, ModelOp::sync, 0, 0);
    }
    ModelStep step;
    const int kind = dice.below(20);
    step.who = kind < 10   ? dice.below(3)
               : kind < 11 ? 3
               : kind < 14 ? kModelDevices
                           : kModelDevices + 1 + dice.below(kModelSessions - 1);
    step.op = dice.draw(step.sql() ? kOfSql : kOfDevices);
    if (step.who > kModelDevices) {
      // Transactions that stay open for a few steps.
      bool& in = open[static_cast<size_t>(step.who - kModelDevices)];
      if (!in && dice.below(2)) step.op = ModelOp::begin;
      if (in && dice.below(5) == 0) step.op = dice.below(3) ? ModelOp::commit : ModelOp::rollback;
      in = step.op == ModelOp::begin || (in && step.op != ModelOp::commit && step.op != ModelOp::rollback);
    }
    step.table = tables[static_cast<size_t>(dice.below(static_cast<int>(tables.size())))];
    if (step.op == ModelOp::shift) step.table = kLine;
    step.key = dice.below(keys);
    step.to = (step.key + 1 + dice.below(keys - 1)) % keys;
    step.set = 1 + dice.below(7);
    step.v = dice.below(1000);
    if (step.op == ModelOp::sync) {
      step.key = dice.below(2);
      step.to = dice.below(3) ? 0 : 1 + dice.below(static_cast<int>(kModelFaults.size()) - 1);
      step.set = dice.below(4);
      step.table = dice.below(3) ? 0 : 1 + dice.below(2);
    }
    out.steps.push_back(step);
  }
  // Some syncs are of several devices at once.
  Dice several{SeededRandom(seed ^ 0xd1b54a32d192ed03)};
  for (ModelStep& step : out.steps) {
    if (step.op != ModelOp::sync || step.who >= kModelTogether || several.below(2) > 0) continue;
    step.op = ModelOp::sync_together;
    step.table = 1 + several.below(kModelTogether - 1);
  }
  // One in three goes back to a backup.
  Dice more{SeededRandom(seed ^ 0x9e3779b97f4a7c15)};
  if (more.below(3) == 0 && out.steps.size() > 2) {
    const int size = static_cast<int>(out.steps.size());
    const int from = more.below(size - 1), to = from + 1 + more.below(size - from - 1);
    const auto at = [&](int place, ModelOp op) {
      out.steps.insert(out.steps.begin() + place, {kModelDevices, op, 0, 0, 0, 0, 0});
    };
    at(to + 1, ModelOp::go_back);
    at(from, ModelOp::back_up);
  }
  return out;
}

std::string print(const ModelStep& step) {
  const std::string head = writer_name(step.who) + " " + kModelOps[static_cast<size_t>(step.op)];
  const auto field = [](const char* name, int value) { return std::string(" ") + name + "=" + std::to_string(value); };
  if (step.syncs())
    return head + field("node", step.key) + " fault=" + kModelFaults[static_cast<size_t>(step.to)] +
           field("at", step.set) + field("with", step.table) + field("v", step.v);
  return head + " table=" + kModelTables[static_cast<size_t>(step.table)] + field("key", step.key) +
         field("to", step.to) + field("set", step.set) + field("v", step.v);
}

std::string print(const ModelScript& script) {
  std::string out = "foreign_keys " + std::to_string(script.foreign_keys) + "\ndeferred " +
                    std::to_string(script.deferred) + "\nsmall_pages " + std::to_string(script.small_pages) + "\n";
  for (const ModelStep& step : script.steps) out += print(step) + "\n";
  return out;
}

Result<ModelScript> parse_model(std::string_view text) {
  ModelScript out;
  std::istringstream in{std::string(text)};
  for (std::string words; std::getline(in, words);) {
    if (words.empty() || words[0] == '#') continue;
    ModelStep step;
    if (words == "foreign_keys 0" || words == "foreign_keys 1")
      out.foreign_keys = words.back() == '1';
    else if (words == "deferred 0" || words == "deferred 1")
      out.deferred = words.back() == '1';
    else if (words == "small_pages 0" || words == "small_pages 1")
      out.small_pages = words.back() == '1';
    else if (read_step(words, step))
      out.steps.push_back(step);
    else
      return fail(Code::bad_argument, "no step of a script: " + words);
  }
  return out;
}

}  // namespace rejoin::testing

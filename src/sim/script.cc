#include "sim/script.h"

#include <cstdlib>
#include <iterator>

#include "sim/tables.h"

namespace rejoin::sim {
namespace {

constexpr std::string_view kOps[] = {"insert",
                                     "insert_or_ignore",
                                     "replace",
                                     "upsert",
                                     "upsert_nothing",
                                     "update",
                                     "update_all",
                                     "rekey",
                                     "rekey_or_replace",
                                     "remove",
                                     "remove_all",
                                     "begin",
                                     "commit",
                                     "rollback",
                                     "savepoint",
                                     "release",
                                     "rollback_to",
                                     "reopen",
                                     "restore",
                                     "fold",
                                     "compact",
                                     "alter",
                                     "alter_begin",
                                     "alter_commit",
                                     "index",
                                     "clock",
                                     "send",
                                     "deliver",
                                     "drop",
                                     "sync",
                                     "page",
                                     "clone"};
constexpr std::string_view kFates[] = {"arrive", "lose", "twice", "early"};

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool parse_number(std::string_view text, int64_t& out) {
  std::string copy(text);
  char* end = nullptr;
  out = std::strtoll(copy.c_str(), &end, 10);
  return !copy.empty() && *end == '\0';
}

bool parse_key(std::string_view text, Key& out) {
  for (std::string_view part : split(text, '/')) {
    auto value = parse_value(part);
    if (!value) return false;
    out.push_back(*value);
  }
  return true;
}

bool parse_set(std::string_view text, int table, std::vector<std::pair<int, Value>>& out) {
  if (table < 0) return false;
  for (std::string_view part : split(text, ',')) {
    size_t at = part.find(':');
    int64_t column;
    if (at == std::string_view::npos || !parse_number(part.substr(0, at), column)) return false;
    auto value = parse_value(part.substr(at + 1));
    if (!value || column < 0 || column >= std::ssize(table_specs()[static_cast<size_t>(table)].columns)) return false;
    out.emplace_back(static_cast<int>(column), *value);
  }
  return true;
}

bool parse_step(std::string_view line, Step& step) {
  auto words = split(line, ' ');
  bool known = false;
  for (size_t i = 0; i < std::size(kOps); ++i)
    if (kOps[i] == words[0]) step.op = static_cast<Op>(i), known = true;
  if (!known) return false;
  for (size_t w = 1; w < words.size(); ++w) {
    std::string_view word = words[w];
    size_t at = word.find('=');
    if (at == std::string_view::npos) return false;
    std::string_view name = word.substr(0, at), text = word.substr(at + 1);
    int64_t number = 0;
    bool ok = true;
    if (name == "on") {
      ok = parse_number(text, number), step.replica = static_cast<int>(number);
    } else if (name == "via") {
      ok = parse_number(text, number), step.connection = static_cast<int>(number);
    } else if (name == "peer") {
      ok = parse_number(text, number), step.peer = static_cast<int>(number);
    } else if (name == "n") {
      ok = parse_number(text, step.number);
    } else if (name == "table") {
      step.table = table_index(text), ok = step.table >= 0;
    } else if (name == "fate") {
      ok = false;
      for (size_t i = 0; i < std::size(kFates); ++i)
        if (kFates[i] == text) step.fate = static_cast<Fate>(i), ok = true;
    } else if (name == "key") {
      ok = parse_key(text, step.key);
    } else if (name == "to") {
      ok = parse_key(text, step.to);
    } else if (name == "set") {
      ok = parse_set(text, step.table, step.set);
    } else {
      ok = false;
    }
    if (!ok) return false;
  }
  return step.replica >= 0 && step.peer >= 0 && step.connection >= 0 && step.connection <= 2;
}

}  // namespace

std::string_view op_name(Op op) { return kOps[static_cast<size_t>(op)]; }

std::string print(const Step& step) {
  std::string out(op_name(step.op));
  out += " on=" + std::to_string(step.replica);
  if (step.connection) out += " via=" + std::to_string(step.connection);
  bool peer = step.op == Op::send || step.op == Op::sync || step.op == Op::page || step.op == Op::clone;
  if (peer) out += " peer=" + std::to_string(step.peer);
  if (step.number) out += " n=" + std::to_string(step.number);
  if (step.fate != Fate::arrive) out += " fate=" + std::string(kFates[static_cast<size_t>(step.fate)]);
  if (step.table >= 0) out += " table=" + table_specs()[static_cast<size_t>(step.table)].label;
  if (!step.key.empty()) out += " key=" + print(step.key);
  if (!step.to.empty()) out += " to=" + print(step.to);
  for (size_t i = 0; i < step.set.size(); ++i) {
    out += i ? "," : " set=";
    out += std::to_string(step.set[i].first) + ":" + print(step.set[i].second);
  }
  return out;
}

std::string print(const Script& script) {
  std::string out = "seed " + std::to_string(script.seed) + "\nreplicas " + std::to_string(script.replicas) +
                    (script.files ? " files" : " memory") + (script.enforced ? " foreign_keys" : "") +
                    (script.recursive ? " recursive_triggers" : "") + "\ntables";
  for (int t : script.tables) out += " " + table_specs()[static_cast<size_t>(t)].label;
  out += "\n";
  for (const Step& step : script.before) out += "before " + print(step) + "\n";
  for (const Step& step : script.steps) out += print(step) + "\n";
  return out;
}

Result<Script> parse_script(std::string_view text) {
  Script script;
  size_t number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    bool ok = true;
    int64_t value = 0;
    if (line.starts_with("seed ")) {
      script.seed = std::strtoull(std::string(line.substr(5)).c_str(), nullptr, 10);
    } else if (line.starts_with("replicas ")) {
      auto words = split(line, ' ');
      ok = words.size() >= 3 && parse_number(words[1], value) && value >= 1 && value <= 16;
      script.replicas = static_cast<int>(value);
      script.files = ok && words[2] == "files";
      for (size_t w = 3; w < words.size(); ++w) {
        bool& pragma = words[w] == "foreign_keys" ? script.enforced : script.recursive;
        ok = ok && (words[w] == "foreign_keys" || words[w] == "recursive_triggers");
        pragma = true;
      }
    } else if (line.starts_with("tables ")) {
      for (std::string_view label : split(line.substr(7), ' ')) {
        script.tables.push_back(table_index(label));
        ok = ok && script.tables.back() >= 0;
      }
    } else {
      bool before = line.starts_with("before ");
      Step step;
      ok = parse_step(before ? line.substr(7) : line, step) && step.replica < script.replicas &&
           step.peer < script.replicas;
      (before ? script.before : script.steps).push_back(std::move(step));
    }
    if (!ok) {
      return fail(Code::bad_argument,
                  "line " + std::to_string(number) + " of the script is not understood: '" + std::string(line) + "'");
    }
  }
  return script;
}

}  // namespace rejoin::sim

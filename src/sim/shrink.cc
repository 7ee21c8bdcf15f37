#include "sim/shrink.h"

#include <algorithm>

namespace rejoin::sim {
namespace {

class Shrinker {
 public:
  Shrinker(Script script, std::string kind, const std::function<std::optional<Failure>(const Script&)>& run)
      : best_(std::move(script)), kind_(std::move(kind)), run_(run) {}

  Script shrink() {
    for (bool smaller = true; smaller && runs_ < kMaxRuns;) {
      size_t before = size();
      drop_steps(&Script::steps);
      drop_steps(&Script::before);
      drop_replicas();
      drop_tables();
      drop_values();
      smaller = size() < before;
    }
    return best_;
  }

 private:
  static constexpr int kMaxRuns = 4000;

  size_t size() const {
    size_t n = best_.steps.size() + best_.before.size() + best_.tables.size() + static_cast<size_t>(best_.replicas) +
               best_.files + best_.enforced + best_.recursive;
    for (const Step& s : best_.steps) n += s.set.size() + (s.connection > 0);
    for (const Step& s : best_.before) n += s.set.size();
    return n;
  }

  bool try_script(const Script& candidate) {
    if (runs_ >= kMaxRuns) return false;
    ++runs_;
    auto failure = run_(candidate);
    if (!failure || failure->kind != kind_) return false;
    best_ = candidate;
    return true;
  }

  void drop_steps(std::vector<Step> Script::*list) {
    for (size_t chunk = std::max<size_t>(1, (best_.*list).size() / 2);; chunk /= 2) {
      for (size_t at = 0; at < (best_.*list).size();) {
        Script candidate = best_;
        auto& steps = candidate.*list;
        auto first = steps.begin() + static_cast<std::ptrdiff_t>(at);
        steps.erase(first, first + static_cast<std::ptrdiff_t>(std::min(chunk, steps.size() - at)));
        if (!try_script(candidate)) at += chunk;
      }
      if (chunk <= 1) return;
    }
  }

  void drop_replicas() {
    for (int victim = best_.replicas - 1; victim >= 0 && best_.replicas > 1; --victim) {
      Script candidate = best_;
      --candidate.replicas;
      auto gone = [&](const Step& s) { return s.replica == victim || s.peer == victim; };
      auto renumber = [&](std::vector<Step>& steps) {
        std::erase_if(steps, gone);
        for (Step& s : steps) s.replica -= s.replica > victim, s.peer -= s.peer > victim;
      };
      renumber(candidate.steps);
      renumber(candidate.before);
      try_script(candidate);
    }
  }

  void drop_tables() {
    for (size_t i = 0; i < best_.tables.size() && best_.tables.size() > 1; ++i) {
      Script candidate = best_;
      candidate.tables.erase(candidate.tables.begin() + static_cast<std::ptrdiff_t>(i));
      if (try_script(candidate)) --i;
    }
    for (bool Script::*flag : {&Script::files, &Script::enforced, &Script::recursive}) {
      Script candidate = best_;
      candidate.*flag = false;
      if (best_.*flag) try_script(candidate);
    }
  }

  void drop_values() {
    for (auto list : {&Script::steps, &Script::before}) {
      for (size_t i = 0; i < (best_.*list).size(); ++i) {
        for (size_t v = 0; v < (best_.*list)[i].set.size();) {
          Script candidate = best_;
          auto& set = (candidate.*list)[i].set;
          set.erase(set.begin() + static_cast<std::ptrdiff_t>(v));
          if (!try_script(candidate)) ++v;
        }
        Script candidate = best_;
        (candidate.*list)[i].connection = 0;
        if ((best_.*list)[i].connection) try_script(candidate);
      }
    }
  }

  Script best_;
  std::string kind_;
  const std::function<std::optional<Failure>(const Script&)>& run_;
  int runs_ = 0;
};

}  // namespace

Script shrink(const Script& script, const std::string& kind,
              const std::function<std::optional<Failure>(const Script&)>& run) {
  return Shrinker(script, kind, run).shrink();
}

}  // namespace rejoin::sim

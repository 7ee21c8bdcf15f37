#include "sim/runner.h"

#include <algorithm>

#include "sim/checker.h"
#include "sim/statements.h"

namespace rejoin::sim {
namespace {

// No replica's clock strays so far that a stamp of its lies beyond what others accept at once (24 hours).
constexpr int64_t kMaxOffset = 10 * 3'600'000;

void run_step(World& world, Mail& mail, const Step& step) {
  Device& d = world.device(step.replica);
  int c = step.connection & 1;
  switch (step.op) {
    case Op::begin:
    case Op::commit:
    case Op::rollback:
    case Op::savepoint:
    case Op::release:
    case Op::rollback_to:
    case Op::reopen:
      return world.transaction(step);
    case Op::restore:
      return world.restore(step);
    case Op::fold:
      return world.fold(step);
    case Op::compact:
      return world.compact(step);
    case Op::alter:
      return world.alter(step);
    case Op::alter_begin:
      return world.alter_begin(step);
    case Op::alter_commit:
      return world.alter_commit(step);
    case Op::index:
      return world.index(step);
    case Op::clock:
      d.clock_offset = std::clamp(d.clock_offset + step.number, -kMaxOffset, kMaxOffset);
      d.db->clock().set(1'700'000'000'000 + d.clock_offset);
      return;
    case Op::send:
    case Op::sync: {
      if (step.peer == step.replica) return;
      // `send` goes out from the replica, `sync` fetches.
      bool fetch = step.op == Op::sync;
      auto letter = world.write_letter(fetch ? step.peer : step.replica, fetch ? step.replica : step.peer, c);
      if (!letter) return;
      mail.waiting.push_back(*letter);
      mail.all.push_back(*letter);
      if (fetch) world.deliver(*letter, step.replica, c);
      return;
    }
    case Op::deliver:
    case Op::drop: {
      if (mail.waiting.empty()) return;
      size_t which = static_cast<size_t>(step.number) % mail.waiting.size();
      if (step.op == Op::drop) {
        mail.waiting.erase(mail.waiting.begin() + static_cast<std::ptrdiff_t>(which));
      } else if (mail.waiting[which].source != step.replica || world.device(step.replica).generation) {
        world.deliver(mail.waiting[which], step.replica, c);
      }
      return;
    }
    case Op::page:
      return world.page(step);
    case Op::clone:
      return world.clone(step.replica, step.peer);
    default:
      return world.statement(step);
  }
}

}  // namespace

std::optional<Failure> run_script(const Script& script, const RunOptions& options) {
  World world(script, options);
  Mail mail;
  world.begin();
  for (size_t i = 0; i < script.steps.size() && !world.failed(); ++i) {
    world.at_step(static_cast<int>(i));
    run_step(world, mail, script.steps[i]);
  }
  world.at_step(-1);
  if (!world.failed()) check_end(world, mail);
  return world.failure();
}

}  // namespace rejoin::sim

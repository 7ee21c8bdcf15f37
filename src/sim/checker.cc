#include "sim/checker.h"

#include <tuple>

#include "base/random.h"

namespace rejoin::sim {
namespace {

// Sends news along the line of replicas and back; the replicas in the middle relay. Returns how many changesets there
// were.
int exchange(World& world, Mail& mail) {
  int letters = 0;
  auto one = [&](int from, int to) {
    if (world.failed()) return;
    auto letter = world.write_letter(from, to);
    if (!letter) return;
    ++letters;
    world.deliver(*letter, to);
    mail.all.push_back(std::move(*letter));
  };
  int n = world.devices();
  for (int i = 0; i + 1 < n; ++i) one(i, i + 1);
  for (int i = n - 1; i > 0; --i) one(i, i - 1);
  return letters;
}

void check_sound(World& world, int i) {
  Database& db = *world.device(i).db;
  std::string who = "replica " + std::to_string(i);
  std::vector<std::vector<Value>> rows;
  if (!db.query(0, "PRAGMA integrity_check", rows) || rows.size() != 1 || rows[0][0].bytes != "ok")
    return world.fail("integrity", who + ": integrity_check: " + (rows.empty() ? db.last_error(0) : print(rows[0][0])));
  auto findings = db.replica(0).doctor();
  if (!findings) return world.fail("doctor", who + ": " + findings.error().message);
  if (*findings != "[]") return world.fail("doctor", who + ": " + *findings);
  rows.clear();
  if (!db.query(0, "PRAGMA foreign_key_check", rows) || !rows.empty())
    return world.fail("foreign_key_check", who + ": " + (rows.empty() ? db.last_error(0) : print(Key(rows[0]))));
  if (world.constrained() || world.altering()) return;  // what waits was compared with the model
  if (!db.query(0, "SELECT table_name, key, reason FROM rejoin_aside", rows) || !rows.empty())
    return world.fail("parked", who + ": " + (rows.empty() ? db.last_error(0) : print(Key(rows[0]))));
}

void check_repeats(World& world, const Mail& mail, SeededRandom& random) {
  for (int n = 0; n < 6 && !mail.all.empty(); ++n) {
    const Letter& letter = mail.all[random.u64() % mail.all.size()];
    int to = static_cast<int>(random.u64() % static_cast<uint64_t>(world.devices()));
    // What it says of a column that was dropped since is kept aside, once.
    if (world.altering()) (void)world.device(to).db->replica(0).apply(letter.frame);
    auto before = world.device(to).db->replica(0).seq();
    auto outcome = world.device(to).db->replica(0).apply(letter.frame);
    auto after = world.device(to).db->replica(0).seq();
    std::string who = "replica " + std::to_string(to) + " got an old changeset of replica " +
                      std::to_string(letter.source) + " again: ";
    if (!before || !after || !outcome)
      return world.fail("repeat", who + (outcome ? "no position" : outcome.error().message));
    if (outcome->rows_changed)
      return world.fail("repeat", who + std::to_string(outcome->rows_changed) + " rows changed");
    if (*before != *after) return world.fail("repeat", who + "it made news");
  }
}

void check_newcomer(World& world, const Mail& mail, SeededRandom& random) {
  std::vector<const Letter*> letters;
  for (const Letter& l : mail.all) {
    letters.push_back(&l);
    if (random.u64() % 4 == 0) letters.push_back(&l);
  }
  // The mail may not hold everything (pages did some of the work), so somebody tells the whole story too.
  int fresh = world.add_device();
  auto all = world.write_letter(0, fresh);
  if (world.failed()) return;
  if (all) letters.push_back(&*all);
  for (size_t i = letters.size(); i > 1; --i) std::swap(letters[i - 1], letters[random.u64() % i]);
  int newcomer = world.devices() - 1;
  // Its clock is right; that of some others is ahead.
  for (const Letter* l : letters) {
    if (world.failed()) return;
    world.deliver(*l, newcomer);
  }
  world.observe(newcomer);
  if (!world.failed() && world.device(newcomer).now.model.state() != world.device(0).now.model.state())
    world.fail("order", "a newcomer that got all changesets in another order has another state:\n" +
                            print(world.device(newcomer).now.model.state()) + "the others:\n" +
                            print(world.device(0).now.model.state()));
  if (!world.failed()) check_sound(world, newcomer);
}

// All forget the deletions that everybody has heard of. What was told before says nothing new any more, and a row that
// is written under a forgotten key is a new one.
void check_forgotten(World& world, const Mail& mail, SeededRandom& random) {
  std::vector<std::pair<int, Key>> gone;
  for (int i = 0; i < world.devices() && !world.failed(); ++i) gone = world.forget(i);
  for (int n = 0; n < 4 && !mail.all.empty() && !world.failed(); ++n) {
    const Letter& letter = mail.all[random.u64() % mail.all.size()];
    int to = static_cast<int>(random.u64() % static_cast<uint64_t>(world.devices()));
    std::string who =
        "replica " + std::to_string(to) + " got an old changeset of replica " + std::to_string(letter.source) + ": ";
    auto outcome = world.device(to).db->replica(0).apply(letter.frame);
    if (!outcome) return world.fail("forgotten", who + outcome.error().message);
    if (outcome->rows_changed)
      return world.fail("forgotten", who + std::to_string(outcome->rows_changed) + " rows changed");
    world.observe(to);
    world.check_rows(to, 0);
  }
  for (size_t n = 0; n < 3 && n < gone.size() && !world.failed(); ++n) {
    Step step;
    step.op = Op::insert;
    step.replica = static_cast<int>(random.u64() % static_cast<uint64_t>(world.devices()));
    std::tie(step.table, step.key) = gone[n];
    world.statement(step);
  }
  Mail fresh;
  exchange(world, fresh);
  exchange(world, fresh);
  for (int i = 0; i < world.devices() && !world.failed(); ++i) {
    world.check_rows(i, 0);
    if (world.device(i).now.model.state() != world.device(0).now.model.state())
      world.fail("forgotten", "months later replica " + std::to_string(i) + " has\n" +
                                  print(world.device(i).now.model.state()) + "but replica 0\n" +
                                  print(world.device(0).now.model.state()));
  }
}

}  // namespace

void check_end(World& world, Mail& mail) {
  SeededRandom random(world.script().seed ^ 0x5eed);
  for (int i = 0; i < world.devices(); ++i) {
    world.end_transaction(i);
    world.alter_all(i);
    world.observe(i);
  }
  // What a database told before a copy of another one took its place must not be lost.
  for (const Letter& letter : mail.all)
    if (letter.generation != world.device(letter.source).generation && !world.failed()) world.deliver(letter, 0);
  // Two rounds reach everybody; the third must be silent, or replicas answer each other for ever.
  exchange(world, mail);
  exchange(world, mail);
  // What is kept aside of one row comes together in what is passed on, which is new to those who kept it in pieces.
  for (int round = 0; world.altering() && round < 6 && !world.failed(); ++round)
    if (exchange(world, mail) == 0) break;
  if (world.failed()) return;
  if (int letters = exchange(world, mail); letters && !world.failed())
    return world.fail("echo",
                      std::to_string(letters) + " changesets were still written after everybody knew everything");
  for (int i = 0; i < world.devices() && !world.failed(); ++i) {
    world.observe(i);
    world.check_rows(i, 0);
    if (world.failed()) return;
    if (world.device(i).now.model.state() != world.device(0).now.model.state())
      return world.fail("convergence", "replica " + std::to_string(i) + " ended with\n" +
                                           print(world.device(i).now.model.state()) + "but replica 0 with\n" +
                                           print(world.device(0).now.model.state()));
    check_sound(world, i);
  }
  if (!world.failed()) check_repeats(world, mail, random);
  if (world.failed()) return;
  const uint64_t then = random.u64() % 3;
  if (then == 0) check_newcomer(world, mail, random);
  if (then == 1 && !world.constrained() && !world.altering()) check_forgotten(world, mail, random);
}

}  // namespace rejoin::sim

// What the application's constraints and triggers make of writes that meet: each is tested between peers and through
// servers.
#pragma once

#include <optional>

#include "tests/support/store_world.h"

namespace rejoin::testing {

struct ConstraintOutcome {
  std::string rows;     // of the server
  std::string refused;  // what devices list as rejected, as: device table["key"]
};

// Cases of one group share their devices, so that each is what the others might wait for, or be lost behind.
enum class ConstraintGroup { values, references };

struct ConstraintCase {
  const char* name;
  std::vector<StoreTable> tables = {};  // each with a text key `id`
  std::string indexes = {};             // on devices and at the server
  std::string in_postgres = {};         // instead of these in PostgreSQL; empty: the same
  std::string on_devices = {};          // triggers and what is not synced
  std::string before = {};              // at the first device, and everywhere before the others are
  std::string first = {}, second = {};  // apart, in this order of time
  std::string query = {};
  // What all devices show with the embedded store, by this query, and list in rejoin_parked, as: table["key"]
  std::string rows = {}, parked = {};
  // PostgreSQL, when the older write reaches it first, and the younger. As `rows`, and nothing is refused, when left
  // out.
  std::optional<ConstraintOutcome> older = {}, younger = {};
  // Shows nothing on any device, over both stores: rows of one with values of another, what triggers left behind.
  std::string never = {};
  ConstraintGroup group = ConstraintGroup::values;
};

const std::vector<ConstraintCase>& constraint_cases();

}  // namespace rejoin::testing

// The simulated devices of one script with their models beside them, and the moves that both make together. After each
// move the two are compared; the first difference is kept as the failure and ends everything.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/database.h"
#include "sim/oracle.h"
#include "sim/script.h"
#include "sim/state.h"

namespace rejoin::sim {

struct Failure {
  std::string kind;  // one word: shrinking keeps it
  std::string message;
  int step = -1;  // index into Script::steps; -1: outside of them
};

// How far a device has got with what another one has to say.
struct Position {
  int64_t acknowledged = 0;                    // log position, for changeset(since)
  Bytes cursor;                                // for pages
  std::vector<std::pair<Bytes, Said>> staged;  // pages that are not visible yet: frames and what they say
  Bytes staged_next;                           // the cursor of the page that continues them
};

// What a rollback takes back.
struct Memory {
  Oracle model;
  std::map<int, Position> from;
  std::optional<Oracle::Altering> altering;  // between rejoin_alter_begin and rejoin_alter_commit
  std::set<int> unnoticed;  // tables with a UNIQUE index that plain SQL has made since Rejoin's last use
};

struct Device {
  std::unique_ptr<Database> db;
  Memory now;
  int owner = -1;      // the connection with an open transaction
  Memory before;       // at its beginning
  bool wrote = false;  // it has written something
  std::vector<std::pair<int64_t, Memory>> savepoints;
  int64_t clock_offset = 0;
  int generation = 0;  // counts the databases that have had this number
  // What was observed last: the model's revision and the database's count of changes.
  uint64_t observed_model = 0;
  int64_t observed_changes = -1;
};

// A changeset under way.
struct Letter {
  int source = 0;
  int generation = 0;  // of the source
  int64_t since = 0, through = 0;
  Bytes frame;
  Said content;
};

// A page under way.
struct PageSent {
  Bytes from, next, frame;
  Said content;
};

struct RunOptions {
  Mistakes mistakes;
  std::string folder;  // where files go; made by the caller
};

class World {
 public:
  World(const Script& script, const RunOptions& options);
  ~World();

  bool failed() const { return failure_.has_value(); }
  const std::optional<Failure>& failure() const { return failure_; }
  void fail(std::string kind, std::string message);
  void at_step(int step) { step_ = step; }

  // Creates the devices, runs Script::before, tracks the tables.
  void begin();
  // One SQL statement of the script, on the device and in the model.
  void statement(const Step& step);
  // BEGIN, COMMIT, SAVEPOINT and so on, and reopening a connection.
  void transaction(const Step& step);
  void restore(const Step& step);
  void compact(const Step& step);
  // Months after all that was written, the device forgets its deletions. Returns the rows.
  std::vector<std::pair<int, Key>> forget(int device);
  void fold(const Step& step);
  void alter(const Step& step);
  void alter_begin(const Step& step);
  void alter_commit(const Step& step);
  void index(const Step& step);
  // Every table in its last form, on one device.
  void alter_all(int device);

  // Reads a device's whole state and lets its model learn. Needs a device without an open transaction.
  void observe(int device);
  // Compares what SELECT shows on a connection with the model, for one table or (-1) all.
  void check_rows(int device, int connection, int table = -1);
  // A changeset for `to`; nothing when there is no news or the device must not tell now.
  std::optional<Letter> write_letter(int source, int to, int connection = 0);
  // Merges a letter into a device.
  void deliver(const Letter& letter, int to, int connection = 0);
  // One page from `source` to `to`.
  void page(const Step& step);
  void clone(int to, int from);
  // An open transaction is rolled back.
  void end_transaction(int device);
  // One more device, which knows nothing yet and has every table in its last form. Returns its number.
  int add_device();

  Device& device(int i) { return devices_[static_cast<size_t>(i)]; }
  int devices() const { return static_cast<int>(devices_.size()); }
  const Script& script() const { return script_; }
  // Do constraints decide what is visible?
  bool constrained() const;
  // Do tables change?
  bool altering() const;

 private:
  // Unless rows are to be written before the tables are tracked, a database in memory has them tracked then.
  enum class Begin { with_rows, empty, empty_and_altered };
  void create(int device, Begin begin);
  // Has Rejoin track the tables, unless they are tracked already.
  void track(int device);
  // Everything that a device knows, as it tells it itself.
  std::optional<Said> actual_state(int device);
  std::string path(int device);
  // False, and the failure noted, unless the call was refused because another connection writes.
  void expect_busy(int device, const std::string& what, Code code);
  // `move`: the receiver's cursor moves to the page's end. False when the page was not taken.
  bool take_page(int to, int source, const PageSent& page, int connection, bool move, bool may_gap);
  std::unique_ptr<Database> open(int device, uint64_t seed);
  // A device has folded or merged: with constraints rows come and go by it.
  void settle(int device, int connection);
  void check_parked(int device, int connection, const Oracle& model);
  // One of the table's changes by plain SQL, between begin and commit.
  void alter_within(const Step& step);
  // A COMMIT by hand is settled by the next use of Rejoin.
  void settle_alter(int device);
  // Is a table of it between begin and commit? Then Rejoin does nothing else there.
  bool altering(int device) { return this->device(device).now.altering.has_value(); }
  // Must the model see the stamps of this device first, and cannot?
  bool unforeseeable(int device) {
    return (constrained() || altering()) && this->device(device).owner >= 0 && pending(device);
  }
  // Would rows be displaced through an index that Rejoin has not noticed, and their values be lost?
  bool loses_values(const Step& step);
  bool pending(int device) { return this->device(device).now.model.pending(); }
  // Makes sure that the model can say what a merge must give. False: it cannot, because a transaction is open.
  bool prepare_merge(int device, const std::vector<const Said*>& contents);

  Script script_;
  RunOptions options_;
  std::vector<Device> devices_;
  std::optional<Failure> failure_;
  int step_ = -1;
  int files_ = 0;
};

}  // namespace rejoin::sim

// The caller's role: with it the application's tables are read and written, so that their row-level security, grants
// and triggers see the caller and not the server. What is Rejoin's own stays under the server's role, within the same
// transaction and the same round trips.
//
// As PostgREST does it: SET LOCAL ROLE, and the token's claims as JSON in the setting request.jwt.claims.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "postgres/work.h"
#include "sync/identity.h"

namespace rejoin::postgres {

struct Impersonation {
  bool on = false;
  std::string default_role;     // of callers whose token names none; empty: they are refused
  int64_t recheck_ms = 60'000;  // how old the answer may be to what a view shows
};

// Tables that a caller cannot be shown now, by id: a policy of theirs fails. With what is wrong.
using LeftOut = std::map<int64_t, Error>;

// Who does what in one transaction.
class Persona {
 public:
  // Without `as.on` the server itself, limited by what `who` may do with each table. Errors: forbidden: no role, one
  // that does not exist or that the server may not act as, or one that is above row-level security (superusers, owners,
  // the server's own role): a token does not choose these.
  static Result<Persona> of(Work& work, const Impersonation& as, const sync::Identity* who, const crdt::SiteId& site);

  bool on() const { return !role_.empty(); }
  // Queue the change of role; the claims are set for the whole transaction.
  void enter(Work& work) const;
  void leave(Work& work) const;
  // The same around what is read of a guarded table: what fails there can be taken back.
  void enter_to_read(Work& work) const;
  void leave_read(Work& work) const;
  // What was read between these two failed. If an expression in a policy of the table did, which decides nothing then,
  // it is noted with the reason, and the transaction goes on.
  Status leave_out(Work& work, const Table& table, const Error& error, LeftOut& out) const;

  bool may_push(const Table& table) const { return sync::right_of(who_, table.name).push; }
  bool may_pull(const Table& table) const;
  // The device's rows reach the server and stay its own.
  bool push_only(const Table& table) const { return may_push(table) && !sync::right_of(who_, table.name).pull; }
  // Does row-level security decide which of its rows the caller sees?
  bool guards(const Table& table) const { return on() && facts_.guarded.contains(table.id); }
  // What decides about what this replica may see, as a number; 0: everything, now and always. Under a role it is the
  // replica's own: what it was given is noted under it.
  uint64_t view() const { return view_; }

 private:
  static Result<uint64_t> view_number(Work& work, const Persona& persona, const crdt::SiteId& site);
  const sync::Identity* who_ = nullptr;
  std::string role_;
  RoleFacts facts_;
  uint64_t view_ = 0;
};

// What a caller is told of whatever its role may not do: the same for every cause.
inline constexpr const char* kRoleMayNot = "the role of this device's token may not write this row, or may not see it";

}  // namespace rejoin::postgres

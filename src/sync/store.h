// What the sync sessions need from a database, at either end. The sessions own these interfaces; `sqlite` (and later
// `postgres`) implements them. Every call is one transaction: when it fails nothing has changed. None is thread-safe;
// one session, one store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "codec/limits.h"
#include "crdt/version.h"
#include "sync/identity.h"

namespace rejoin::sync {

// A row that a receiver did not take, with the reason. Everything else of its frame was taken.
struct RefusedRow {
  std::string table;
  Bytes key;  // encoded (crdt/key.h)
  std::string key_json;
  Code code = Code::internal;  // too_large, forbidden, schema_refused, ...
  std::string reason;
  // The row as the receiver has it now: a changeset of one row (codec/row_frame.h); one without rows: it has none that
  // the sender may see. Empty: not said.
  Bytes server;
};

// Rows of a table that the device may not see any more. No deletion: they leave the device and may come back whole.
struct EvictedRows {
  std::string table;
  bool all = false;         // every row of the table
  std::vector<Bytes> keys;  // else these
  // With `all`: only rows without a stamp above it. Their deletion was forgotten, if they don't come again with the
  // pages that begin here.
  uint64_t horizon = 0;
  friend bool operator==(const EvictedRows&, const EvictedRows&) = default;
};

// Of the rows of one acknowledgement at most so many bytes are told; of the others nothing is said.
inline constexpr uint64_t kMostToldBytes = 4 << 20;

struct ApplyOutcome {
  uint64_t rows_seen = 0;
  uint64_t rows_changed = 0;  // rows of which anything changed
  uint64_t rows_parked = 0;   // kept, but not visible yet (rejoin_parked)
  bool staged = false;        // kept durably, not visible until its stream reaches its horizon
  bool moved = false;         // nothing was taken: the pull cursor is another than the page was asked from
  std::vector<RefusedRow> refused;
};

// ---- the device's end
// ------------------------------------------------------------------------------------------------------------

// One frozen chunk of this device's changes. Stored before it is handed out: a retry gets the same bytes, token and
// nonce.
struct PendingPush {
  Bytes chain_token;  // as the server gave it; empty at first contact
  Bytes nonce;        // 16 random bytes of this chunk
  Bytes frame;        // a changeset
  uint64_t through = 0;
  bool more = false;  // further changes wait behind this chunk
};

// What is left in a server that has lost what it had (restored, failed over, replaced, or told to forget a device).
struct Restored {
  std::vector<crdt::SiteId> sites;  // the server's own: the present one, then those that it had before
  crdt::Hlc through = 0;            // what it wrote itself up to this stamp it still has; 0: not known
};
inline constexpr size_t kMostOwnSites = 64;

// What a server told in a reply, for the store to keep.
struct ServerFacts {
  int64_t now_ms = 0;
  bool may_relay = false;
  uint64_t max_frame_bytes = 0;
  uint64_t max_value_bytes = 0;
  std::string schema;  // fingerprint of the tables that the server has; empty: not said
};

struct DeviceState {
  crdt::SiteId site;
  std::string contract_json;
  std::string contract_fingerprint;
  Bytes pull_cursor;      // empty: from the beginning
  bool pull_own = false;  // from the beginning with what came from this device too: it has given some of it up
  Bytes chain_token;      // as the last acknowledgement gave it; empty before the first
  ServerFacts facts;      // as the server told in an earlier reply; without its clock
};

class DeviceStore {
 public:
  virtual ~DeviceStore() = default;
  virtual Result<DeviceState> state() = 0;
  // The chunk to push next: the frozen one if its acknowledgement is missing, else the next changes, frozen now.
  // Nothing when all is pushed. Rows whose values exceed `facts.max_value_bytes` are listed in rejoin_rejections and
  // left out.
  virtual Result<std::optional<PendingPush>> next_push(uint64_t max_bytes, const ServerFacts& facts) = 0;
  // The server has the chunk with this nonce, durably, refusing those rows. Unknown nonces are ignored. True when
  // refused rows were written anew, to be pushed again.
  virtual Result<bool> acknowledge(BytesView nonce, BytesView next_chain_token,
                                   const std::vector<RefusedRow>& refused) = 0;
  // Applies (or stages) a page and moves the pull cursor, in one transaction. Stamps that the server's clock admits
  // (0: unknown) are admitted, however slow this device's clock is.
  // `evicted` rows leave the device, but those with unsent or refused writes, which stay until these are settled.
  // `cursor`: where the page was asked from. If the device is elsewhere by now (another process syncs the same file, or
  // asked for everything anew), the page is not taken, and is to be asked for again.
  virtual Result<ApplyOutcome> apply_page(BytesView cursor, BytesView frame, BytesView next_cursor,
                                          int64_t server_now_ms, const std::vector<EvictedRows>& evicted) = 0;
  // True when rows that were refused, or passed over, go out now, because what the server accepts has changed.
  virtual Result<bool> keep_facts(const ServerFacts& facts) = 0;
  // The file was copied or restored: a new site id, a new chain; unsent writes are kept with their times. Nothing when
  // `refused_token` is not the chain's token any more: another process has pushed meanwhile, on the same file.
  virtual Status take_new_identity(BytesView refused_token) = 0;
  // The server has lost what it had acknowledged: everything is pushed and pulled again, with what this file has of the
  // server's own writing, if `server` is the one that it knows. Nothing: not said. `refused_token`: as above.
  virtual Status start_over(BytesView refused_token, const std::optional<Restored>& server) = 0;
  // The server lacks what comes before the chunk: everything is pushed again, by the chain that there is. Nothing when
  // that chunk does not wait any more: another process has pushed meanwhile, on the same file.
  virtual Status restart_push(BytesView refused_nonce) = 0;
  // The server no longer knows the pull cursor: pull from the beginning. `server`: and it may have lost what it wrote
  // itself, which is pushed as by start_over().
  virtual Status restart_pull(const std::optional<Restored>& server) = 0;
  // Unacknowledged writes that are stamped after the server's clock get honest stamps; the frozen chunk is thawed.
  virtual Status restamp(int64_t server_now_ms) = 0;
  // Kept for rejoin_status(): the outcome of a session; `error` is empty when it succeeded.
  virtual Status note_session(uint64_t pushed_rows, uint64_t pulled_rows, const std::string& error) = 0;
};

// ---- the server's end: one tenant
// ------------------------------------------------------------------------------------------------

struct PushRequest {
  std::string device;  // from the token
  crdt::SiteId site;
  Bytes chain_token;
  Bytes nonce;
  BytesView frame;
  BytesView cursor;        // where the device reads on; empty: not said, or from the beginning
  bool may_relay = false;  // cells of other sites are accepted
  int64_t now_ms = 0;
  int64_t drift_ms = 0;  // how far ahead of `now_ms` a stamp may lie
  codec::Limits limits;
  const Identity* who = nullptr;  // nobody in particular: may everything
};

struct PushReply {
  Bytes next_chain_token;
  ApplyOutcome outcome;
  bool repeated = false;  // a retry of the chunk that was taken last: nothing was done again
  bool known = false;     // this chunk begins the chain of a site of which others had brought something
};

struct PullRequest {
  crdt::SiteId site;   // what came from there is left out
  std::string device;  // from the token
  Bytes chain_token;   // empty: not checked, but for `unpushed`
  Bytes cursor;
  bool own = false;  // with an empty cursor: what came from `site` is not left out
  // Behind a push: its reply's `known`. A device that begins is told also what came from its site, if the store has
  // that from others: its file may have been put back to before it wrote that. Nothing that it has leaves for it.
  bool known = false;
  bool unpushed = false;  // its file says that it has pushed nothing here
  uint64_t max_bytes = 1 << 20;
  const Identity* who = nullptr;  // nobody in particular: may see everything
  bool pushing = false;           // there was a push beside it, and more may follow
};

struct PullReply {
  Bytes frame;  // empty: no news
  Bytes next_cursor;
  bool more = false;
  uint64_t rows = 0;
  bool restarted = false;  // the cursor was not known any more: this page starts from the beginning
  std::vector<EvictedRows> evicted;
  std::vector<Error> left_out;  // a table each that cannot be read for this device: pages go on without it. For the log
  std::vector<Error> withheld;  // values that no device takes, as far as they are to be told. For the log
};

class TenantStore {
 public:
  virtual ~TenantStore() = default;
  // Takes a chunk, durably, together with the device's place in its chain. Cells of the store's own site come back with
  // it after a restore; they are taken of everybody. Errors: stale_chain, unknown_chain, clock_ahead (a stamp beyond
  // now + drift; nothing was taken), forbidden, corrupt, gap, too_large.
  virtual Result<PushReply> push(const PushRequest& request) = 0;
  // Errors: stale_chain, unknown_chain, bad_argument (the cursor).
  virtual Result<PullReply> pull(const PullRequest& request) = 0;
  // For a device that knows more than this store. If `token` is unknown its chain begins anew, so that, starting over
  // without a token, it is not taken for a copy. `cursor`: where it read on until now; that it has missed deletions
  // which are forgotten here is kept, for a start tells nothing of it.
  virtual Result<Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                    BytesView cursor) = 0;
  virtual Result<std::string> contract_fingerprint() = 0;
  virtual Result<std::string> contract_json() = 0;
  // Is this fingerprint one that the tenant has seen (its own, or an ancestor's)? A caller that `may_create` is asked
  // for a contract that was seen but has tables or columns that the tenant lacks.
  virtual Result<bool> knows_contract(const std::string& fingerprint, bool may_create) = 0;
  // A device's contract. `may_create`: missing tables and columns are created; otherwise they are remembered as
  // unknown, and rows of theirs are refused one by one. Errors: bad_argument.
  virtual Status adopt_contract(const std::string& json, bool may_create) = 0;
  // The contract that devices are given to follow (sync/published.h); empty: none.
  virtual Result<std::string> published_contract() = 0;
  // Makes what of a contract is missing here and gives it to devices from now on. Errors: bad_argument; schema_refused:
  // it is not additive, or something cannot be made here; then the one before stays.
  virtual Status publish_contract(const std::string& json) = 0;
};

}  // namespace rejoin::sync

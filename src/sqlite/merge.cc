#include "sqlite/merge.h"

#include <algorithm>

#include "codec/merged_list.h"
#include "crdt/admission.h"
#include "crdt/key.h"
#include "sqlite/discard.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/identity.h"
#include "sqlite/key_before.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"
#include "sqlite/rejections.h"
#include "sqlite/retyped.h"
#include "sqlite/row_state.h"
#include "sync/chain.h"

namespace rejoin::sqlite {
namespace {

constexpr size_t kChunkRows = 1'024;
constexpr size_t kChunkBytes = 256 << 10;  // of values: bounds a page that later names the chunk

}  // namespace

// One block of a frame on its way into one table.
struct Merge::Block {
  Block(Context& ctx, const codec::ChangesetReader& r, size_t i, Table& t, codec::BlockCursor c, bool app_triggers)
      : reader(r),
        index(i),
        info(r.blocks()[i]),
        table(t),
        cursor(std::move(c)),
        records(ctx, t),
        base(ctx, t, app_triggers) {}

  const codec::ChangesetReader& reader;
  size_t index;
  const codec::BlockInfo& info;
  Table& table;
  codec::BlockCursor cursor;
  std::optional<codec::BlockCursor> raw;  // the same rows in the frame's own column numbers, for parking
  uint64_t raw_at = 0;
  std::optional<RecordReader> stored;
  std::optional<RowReader> rows, shadow;  // old values, where needed
  RecordWriter records;
  BaseWriter base;
  codec::MergedListWriter list;
  crdt::ColumnSet present;
  std::vector<uint32_t> local;  // by position in the block: local column id or kNoColumn
  bool unknown_columns = false;
  bool in_passes = false;  // it is walked again, for columns that it has under a former name as well
  std::string lacks;       // why the table cannot be written here; empty: it can
  uint64_t at = 0;         // rows walked
  size_t chunk_bytes = 0;

  crdt::RowRecord mine, before, own_part;
  crdt::JoinOutcome join;
  BaseWriter::Row row;
  Bytes key_scratch;
  std::vector<OwnedValue> kept;  // values that must outlive a reader's row
};

Merge::Merge(Work& work, const ApplyOptions& options)
    : work_(work), ctx_(work.ctx()), options_(options), enforcement_(ctx_), visibility_(ctx_), lost_(ctx_) {}
Merge::~Merge() = default;

Status Merge::frame(const codec::ChangesetReader& reader) {
  REJOIN_ASSIGN(site_map_, site_map(ctx_, reader));
  REJOIN_ASSIGN(has_rejections_, has_rejections(ctx_));
  REJOIN_ASSIGN(has_discarded_, has_discarded(ctx_));
  REJOIN_ASSIGN(origin_, intern_site(ctx_, options_.origin ? *options_.origin : reader.info().source));
  if (options_.refuse_ahead || options_.only_site) {
    REJOIN_ASSIGN(ours_, own_sites(work_));
  }
  if (options_.only_site) {
    allowed_ = ours_;
    allowed_.push_back(static_cast<uint32_t>(ctx_.sites.find(*options_.only_site)));  // no site's when unknown
  }
  // The file may be a copy of the device's own: what that stamps is not from here.
  if (options_.origin) std::erase(ours_, origin_);
  if (!options_.referee && !admitted_) {
    REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx_));
    horizon_ = horizon.hlc;
  }
  uint64_t rows = 0;
  for (const auto& b : reader.blocks()) rows += b.rows;
  crdt::Hlc ahead = crdt::hlc_of_ms(std::max(ctx_.clock.now_ms(), options_.now_ms) + options_.drift_ms);
  limit_ = std::max(ahead, work_.state.last + rows);
  Status status;
  for (size_t i = 0; i < reader.blocks().size() && status.ok(); ++i) status = block(reader, i);
  Status ended = enforcement_.end();
  return status.ok() ? ended : status;
}

Status Merge::block(const codec::ChangesetReader& reader, size_t index) {
  const codec::BlockInfo& info = reader.blocks()[index];
  const codec::WireTable& wire = reader.tables()[info.table];
  Table* table = ctx_.catalog.find_named(wire.name);
  if (!table || !names_key(*table, wire.key)) return unknown_table(reader, index);

  const std::vector<std::vector<uint32_t>> maps = column_maps(*table, wire);
  for (size_t pass = 0; pass < maps.size(); ++pass) REJOIN_TRY(rows_of(reader, index, *table, maps, pass));
  return {};
}

// The rows of a block. Passes after the first take columns that it has under a former name as well.
Status Merge::rows_of(const codec::ChangesetReader& reader, size_t index, Table& into,
                      const std::vector<std::vector<uint32_t>>& maps, size_t pass) {
  const codec::BlockInfo& info = reader.blocks()[index];
  const codec::WireTable& wire = reader.tables()[info.table];
  Table* const table = &into;
  REJOIN_ASSIGN(const std::string* lacks, out_of_reach(ctx_, into));
  if (lacks && pass > 0) return {};  // what is to wait does so as a whole
  const std::vector<uint32_t>& columns = maps[pass];
  Block b(ctx_, reader, index, *table, reader.rows(index, site_map_, columns), enforcement_.triggers_for(*table));
  for (uint32_t position : info.columns) {
    b.local.push_back(columns[position]);
    b.unknown_columns |= pass == 0 && std::all_of(maps.begin(), maps.end(),
                                                  [&](const auto& m) { return m[position] == codec::kNoColumn; });
  }
  for (uint32_t c = 0; c < table->columns.size(); ++c)
    if (table->columns[c].present) b.present.add(c);
  b.row.values.resize(table->columns.size());
  if (lacks) b.lacks = *lacks;
  b.in_passes = maps.size() > 1;
  REJOIN_ASSIGN(RecordReader stored, RecordReader::open(ctx_, *table));
  b.stored.emplace(std::move(stored));
  const uint64_t seen = outcome_.rows_seen;
  REJOIN_ASSIGN(const KeyBefore former, KeyBefore::load(ctx_, *table));
  bool waits = false;
  if (!lacks) {
    REJOIN_ASSIGN(waits, former.waits());
  }
  std::vector<Bytes> keys;
  while (b.cursor.next()) {
    ++b.at;
    REJOIN_TRY(row(b));
    if (waits) keys.emplace_back(b.cursor.key());
    if (b.list.rows() >= kChunkRows || b.chunk_bytes >= kChunkBytes) REJOIN_TRY(flush(b));
  }
  if (!b.cursor.ok())
    return fail(Code::corrupt, "the changeset's rows of table \"" + wire.name +
                                   "\" are damaged; nothing was merged. Ask its source for it again");
  REJOIN_TRY(flush(b));
  if (pass > 0) outcome_.rows_seen = seen;
  b.stored->reset();
  touch(*table);
  return lacks ? Status() : former.settle(keys);
}

void Merge::touch(const Table& table) {
  if (std::find(touched_tables_.begin(), touched_tables_.end(), table.id) == touched_tables_.end())
    touched_tables_.push_back(table.id);
}

Status Merge::left(const Table& table, BytesView key) {
  touch(table);
  return visibility_.left(table, key);
}

Status Merge::row(Block& b) {
  ++outcome_.rows_seen;
  BytesView key = b.cursor.key();
  auto values = b.cursor.values();
  if (!sync::right_of(options_.who, b.table.name).push)
    return refuse(b, Code::forbidden,
                  "this device may not write to \"" + b.table.name + "\"; ask for a token that may (tables)");
  bool foreign = false;
  if (options_.only_site) {
    REJOIN_ASSIGN(foreign, leave_out_foreign(b));
  }
  bool discarded = false;
  if (has_discarded_) {
    REJOIN_ASSIGN(discarded, leave_out_discarded(b));
  }
  if (has_rejections_ && options_.referee) REJOIN_TRY(follow(b));
  const crdt::RowRecord* theirs = foreign || discarded ? &b.own_part : &b.cursor.record();
  crdt::Hlc newest = b.cursor.newest();
  if (newest > limit_ && !options_.refuse_ahead)
    return park(b,
                "its time " + iso8601(crdt::ms_of_hlc(newest)) + " lies too far in the future; it will be merged then",
                crdt::ms_of_hlc(newest) - options_.drift_ms);
  if (newest > limit_) {
    crdt::RowRecord others = crdt::part_of_others(*theirs, ours_);
    if (others == *theirs || crdt::newest_stamp(others) > limit_)
      return fail(Code::clock_ahead, "a change to \"" + b.table.name + "\" " + crdt::key_json(key, b.table.key.size()) +
                                         " is stamped " + iso8601(crdt::ms_of_hlc(newest)) +
                                         ", further ahead of this clock (" + iso8601(ctx_.clock.now_ms()) +
                                         ") than allowed; set the sender's clock");
    REJOIN_TRY(refuse(b, Code::clock_ahead, sync::kOwnStampAhead));
    b.own_part = std::move(others);
    theirs = &b.own_part;
    newest = crdt::newest_stamp(*theirs);
    foreign = false;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    b.chunk_bytes += values[i].bytes.size();
    if (values[i].bytes.size() > options_.limits.value_bytes)
      return refuse(b, Code::too_large,
                    "a value of " + std::to_string(values[i].bytes.size()) + " bytes is above the limit of " +
                        std::to_string(options_.limits.value_bytes) + "; shorten it, or raise the limit");
    if (b.local[i] != codec::kNoColumn) b.row.values[b.local[i]] = values[i];
  }

  REJOIN_ASSIGN(BytesView stored, b.stored->find(key));
  bool known = stored.data() != nullptr;
  b.mine.reset();
  if (known && !crdt::decode_record(stored, ctx_.sites.size(), b.mine))
    return fail(Code::corrupt, "the record of a row in \"" + b.table.name + "\" is damaged; run rejoin doctor");
  const bool unknown = crdt::may_be_forgotten(b.mine);
  bool without_birth = false;
  if (unknown && horizon_ != 0)
    switch (crdt::admission(b.mine, *theirs, ctx_.sites, horizon_, options_.only_site.has_value(), options_.stale)) {
      case crdt::Admission::admit:
        break;
      case crdt::Admission::in_part:
        without_birth = b.cursor.record().birth.hlc <= horizon_;
        if (!without_birth) break;
        if (theirs != &b.own_part) b.own_part = *theirs, theirs = &b.own_part;
        b.own_part.birth = {};
        break;
      case crdt::Admission::forget:
        return {};
      case crdt::Admission::refuse:
        if (known && !is_news(b, *theirs)) break;
        if (options_.refuse_unknown) return refuse(b, Code::before_horizon, crdt::before_horizon(horizon_));
        return park(b, crdt::waits_for_row(horizon_), kDueWhenKnown);
    }
  if (!b.lacks.empty()) return wait_for_reach(b, *theirs);
  bool was_visible = b.mine.visible();
  bool was_alive = b.mine.alive;
  bool note = lost_.has_room() && known && !options_.only_site;
  if (note) b.before = b.mine;
  b.join.reset();
  crdt::join(b.mine, *theirs, ctx_.sites, b.join);
  if (!b.join.changed()) {
    if (foreign) {
      // Is it news, or known already?
      b.own_part = b.cursor.record();
      if (without_birth) b.own_part.birth = {};
      crdt::join(b.mine, b.own_part, ctx_.sites, b.join);
      if (b.join.changed())
        return refuse(
            b, Code::forbidden,
            "it carries another replica's changes and this token may not relay; ask for a token with relay, or "
            "let the other replica push them");
    }
    if (note && !b.join.lost.empty()) {
      crdt::decode_key(key, b.table.key.size(), b.row.key, b.key_scratch);
      REJOIN_TRY(note_losers(b, b.before, was_visible));
    }
    newest_ = std::max(newest_, newest);
    return leave_unknown_columns(b);
  }
  newest_ = std::max(newest_, newest);
  if (!crdt::decode_key(key, b.table.key.size(), b.row.key, b.key_scratch))
    return fail(Code::corrupt,
                "a key of table \"" + b.table.name + "\" in the changeset is damaged; nothing was merged");
  for (size_t i = 0; i < b.row.key.size(); ++i) {
    const crdt::ValueRef& part = b.row.key[i];
    if (part.type == crdt::ValueType::null || BaseWriter::altered_by_affinity(part, b.table.key[i].affinity)) {
      const char* reason = "its key is NULL or of another type than the table's key column would store";
      if (options_.refuse_unknown) return refuse(b, Code::schema_refused, reason);
      return park(b, reason, 0);
    }
  }
  if (note) REJOIN_TRY(note_losers(b, b.before, was_visible));
  REJOIN_ASSIGN(const Wrote wrote, write(b, was_visible, known));
  if (wrote == Wrote::refused) return wait_for_index(b);
  b.records.add(key, b.mine);
  came_known_ |= unknown && (b.join.live_won || !crdt::may_be_forgotten(b.mine));
  b.list.add(key, b.join.live_won || b.join.birth_won, b.mine.alive && !was_alive, b.join.won);
  ++outcome_.rows_changed;
  return leave_unknown_columns(b);
}

// Nothing of the row is merged, as its table cannot be written at all: not even a row that is visible could go.
Status Merge::wait_for_reach(Block& b, const crdt::RowRecord& theirs) {
  if (!b.in_passes && !is_news(b, theirs)) return leave_unknown_columns(b);
  if (options_.refuse_unknown) return refuse(b, Code::schema_refused, b.lacks);
  if (noted_.insert(b.table.id).second) REJOIN_TRY(note_out_of_reach(ctx_, b.table));
  return park(b, b.lacks, 0);
}

// Neither: the row that is there cannot go, as an index's expression fails on it. Another connection's may not.
Status Merge::wait_for_index(Block& b) {
  if (options_.refuse_unknown) return refuse(b, Code::schema_refused, b.base.reason());
  REJOIN_TRY(visibility_.stays(b.table));
  return park(b, b.base.reason(), 0);
}

bool Merge::is_news(Block& b, const crdt::RowRecord& theirs) const {
  crdt::RowRecord joined = b.mine;
  b.join.reset();
  crdt::join(joined, theirs, ctx_.sites, b.join);
  return b.join.changed();
}

// Of a row whose other columns were taken.
Status Merge::leave_unknown_columns(Block& b) {
  if (!b.unknown_columns) return {};
  if (options_.refuse_unknown)
    return refuse(b, Code::schema_refused,
                  "the receiver's table lacks columns that it has; add them there, or use a token that may (schema). "
                  "The other columns were taken");
  return park(b, kLacksColumns, 0);
}

// A device speaks for itself, and for this replica, which may have lost what it wrote (docs/adr/0012). Of a row that
// carries other sites' changes too, that part is taken, into b.own_part. False when there are none.
Result<bool> Merge::leave_out_foreign(Block& b) {
  if (crdt::only_of_sites(b.cursor.record(), allowed_)) return false;
  b.own_part = crdt::part_of_sites(b.cursor.record(), allowed_);
  return true;
}

// Versions that were taken back after a server had refused them don't come back from others. The server itself may have
// taken them later.
Result<bool> Merge::leave_out_discarded(Block& b) {
  REJOIN_ASSIGN(auto versions, discarded_versions(ctx_, b.table.name, b.cursor.key()));
  if (!versions) return false;
  if (options_.referee) {
    REJOIN_TRY(forget_discarded(ctx_, b.table.name, b.cursor.key(), *versions, b.cursor.record()));
    return false;
  }
  if (!shares_versions(b.cursor.record(), *versions)) return false;
  b.own_part = without_versions(b.cursor.record(), *versions, ctx_.sites);
  return true;
}

// News of a row that this replica wrote and the server refused.
Status Merge::follow(Block& b) {
  REJOIN_ASSIGN(bool listed, is_rejected(ctx_, b.table.name, b.cursor.key()));
  if (!listed) return {};
  std::map<uint32_t, crdt::ValueRef> values;
  for (size_t i = 0; i < b.local.size(); ++i)
    if (b.local[i] != codec::kNoColumn) values[b.local[i]] = b.cursor.values()[i];
  return follow_server(ctx_, b.table, b.cursor.key(), b.cursor.record(), values);
}

// What a row's join means for the application's table and for the shadow table.
Result<Wrote> Merge::write(Block& b, bool was_visible, bool was_known) {
  REJOIN_TRY(enforcement_.begin(b.table));
  if (b.table.triggers_leave) b.stored->reset();  // which ends when a refused write is taken back
  const bool show_it = b.mine.alive && !b.mine.hidden;
  const bool related = b.table.constraints.refers_or_is_referred();
  // A stand-in gives way; it comes back when all is settled.
  if (b.mine.hidden && b.table.constraints.stand_ins) {
    REJOIN_ASSIGN(const Wrote wrote, b.base.erase(b.row));
    if (wrote == Wrote::refused) return wrote;
    REJOIN_TRY(visibility_.left(b.table, b.cursor.key()));
  }
  if (was_visible) {
    if (show_it) return change(b);
    // It died. What it last held is kept, this frame's own news included.
    if (b.table.keep_deleted) {
      REJOIN_TRY(b.base.copy_to_shadow(b.row));
      if (!b.join.won.empty()) REJOIN_TRY(b.base.update_shadow(b.row, b.join.won));
    }
    REJOIN_ASSIGN(const Wrote wrote, b.base.erase(b.row));
    if (wrote == Wrote::refused) {
      REJOIN_TRY(b.base.erase_shadow(b.row));
      return wrote;
    }
    if (related) REJOIN_TRY(visibility_.left(b.table, b.cursor.key()));
    return Wrote::done;
  }
  if (b.mine.alive && (!b.mine.hidden || b.join.live_won || b.join.birth_won || !b.join.won.empty())) {
    b.mine.hidden = false;
    REJOIN_TRY(show(b, was_known));
    return Wrote::done;
  }
  // Dead, or not yet born: edits wait in the shadow table.
  if (b.mine.hidden && !b.mine.alive) {
    b.mine.hidden = false;
    REJOIN_TRY(unpark_hidden(ctx_, b.table, b.cursor.key()));
  }
  bool keep = b.mine.live.bottom() || b.table.keep_deleted;
  if (keep && !b.join.won.empty()) REJOIN_TRY(b.base.update_shadow(b.row, b.join.won));
  return Wrote::done;
}

// The row becomes visible: incoming values, else what the shadow table kept, else the defaults.
Status Merge::show(Block& b, bool from_shadow) {
  bool shadowed = false;
  if (from_shadow) {
    if (!b.shadow) {
      REJOIN_ASSIGN(RowReader r, RowReader::open(ctx_, b.table, true));
      b.shadow.emplace(std::move(r));
    }
    REJOIN_ASSIGN(shadowed, b.shadow->find(b.cursor.key()));
  }
  b.kept.resize(b.table.columns.size());
  // Values that were not kept here may be in the frame although they are no news.
  crdt::ColumnSet carried;
  if (!shadowed)
    for (const crdt::CellGroup& g : b.cursor.record().groups)
      g.columns.each([&](uint32_t c) {
        if (b.mine.stamp_of(c) == g.stamp) carried.add(c);
      });
  for (uint32_t c = 0; c < b.table.columns.size(); ++c) {
    if (b.join.won.has(c) || carried.has(c)) continue;
    crdt::ValueRef v = b.table.columns[c].default_value.ref();
    if (shadowed && !b.mine.stamp_of(c).bottom()) v = b.shadow->value(c);
    b.kept[c] = OwnedValue::of(v);
    b.row.values[c] = b.kept[c].ref();
  }
  if (shadowed) b.shadow->reset();
  crdt::ColumnSet written;
  for (const crdt::CellGroup& g : b.mine.groups) written |= g.columns;
  written &= b.present;
  std::string reason = kTypesDiffer;
  if (fit_columns(b.table, written, b.row.values, b.kept)) {
    REJOIN_ASSIGN(Wrote wrote, b.base.insert(b.row));
    if (wrote == Wrote::done) {
      if (shadowed) {
        REJOIN_TRY(b.base.erase_shadow(b.row));
        REJOIN_TRY(unpark_hidden(ctx_, b.table, b.cursor.key()));
      }
      if (!b.table.constraints.refers_or_is_referred()) return {};
      return visibility_.wrote(b.table, b.cursor.key(), nullptr);
    }
    reason = b.base.reason();
  }
  b.mine.hidden = true;
  ++outcome_.rows_parked;
  REJOIN_TRY(b.base.insert_shadow(b.row));
  return park_hidden(ctx_, b.table, b.cursor.key(), reason);
}

// A visible row gets new values.
Result<Wrote> Merge::change(Block& b) {
  crdt::ColumnSet columns = b.join.won;
  b.join.dropped.each([&](uint32_t c) {
    if (!b.present.has(c)) return;
    columns.add(c);
    b.row.values[c] = b.table.columns[c].default_value.ref();
  });
  if (columns.empty()) return Wrote::done;
  if (!fit_columns(b.table, b.join.won, b.row.values, b.kept)) return hide(b, columns, kTypesDiffer);

  REJOIN_ASSIGN(Wrote wrote, b.base.update(b.row, columns));
  if (wrote != Wrote::done) return hide(b, columns, b.base.reason());
  if (b.table.constraints.refers_or_is_referred()) REJOIN_TRY(visibility_.wrote(b.table, b.cursor.key(), &columns));
  return wrote;
}

Result<Wrote> Merge::hide(Block& b, const crdt::ColumnSet& columns, const std::string& reason) {
  const std::string why = reason;  // it may be the writer's, which erase() overwrites
  REJOIN_TRY(b.base.copy_to_shadow(b.row));
  REJOIN_TRY(b.base.update_shadow(b.row, columns));
  REJOIN_ASSIGN(const Wrote wrote, b.base.erase(b.row));
  if (wrote == Wrote::refused) {
    REJOIN_TRY(b.base.erase_shadow(b.row));
    return wrote;
  }
  b.mine.hidden = true;
  ++outcome_.rows_parked;
  REJOIN_TRY(park_hidden(ctx_, b.table, b.cursor.key(), why));
  if (b.table.constraints.refers_or_is_referred()) REJOIN_TRY(visibility_.left(b.table, b.cursor.key()));
  return wrote;
}

Status Merge::note_losers(Block& b, const crdt::RowRecord& before, bool was_visible) {
  // The incoming value was older than what is here.
  Status status;
  b.join.lost.each([&](uint32_t c) {
    if (!status.ok() || !lost_.has_room()) return;
    crdt::Stamp stamp = b.cursor.record().stamp_of(c);
    if (!stamp.bottom()) status = lost_.note(b.table, b.cursor.key(), c, stamp, b.row.values[c]);
  });
  REJOIN_TRY(std::move(status));
  // A value written here gives way.
  bool own = false;
  b.join.won.each([&](uint32_t c) {
    crdt::Stamp s = before.stamp_of(c);
    own |= s.site == work_.state.site && s.hlc > crdt::kBeforeTrackingHlc;
  });
  if (!own || !was_visible) return {};
  if (!b.rows) {
    REJOIN_ASSIGN(RowReader r, RowReader::open(ctx_, b.table, false));
    b.rows.emplace(std::move(r));
  }
  b.rows->reset();
  REJOIN_ASSIGN(bool found, b.rows->find(b.cursor.key()));
  if (found)
    b.join.won.each([&](uint32_t c) {
      crdt::Stamp s = before.stamp_of(c);
      if (!status.ok() || !lost_.has_room() || s.site != work_.state.site || s.hlc <= crdt::kBeforeTrackingHlc) return;
      status = lost_.note(b.table, b.cursor.key(), c, s, b.rows->value(c));
    });
  b.rows->reset();
  return status;
}

Status Merge::flush(Block& b) {
  b.chunk_bytes = 0;
  if (b.list.empty()) return {};
  b.stored->reset();
  if (b.rows) b.rows->reset();
  if (b.shadow) b.shadow->reset();
  REJOIN_TRY(b.records.flush());
  Bytes blob = b.list.finish();
  REJOIN_TRY(enforcement_.forget_captured());
  if (!options_.announced) {
    REJOIN_ASSIGN(Statement * s,
                  ctx_.statement("INSERT INTO main.rejoin_log(tbl, op, bits, k0) VALUES(?1, ?2, ?3, ?4)"));
    Use use(*s);
    s->bind(1, static_cast<int64_t>(b.table.id));
    s->bind(2, static_cast<int64_t>(kMerged));
    s->bind(3, static_cast<int64_t>(origin_));
    s->bind_blob(4, blob);
    REJOIN_TRY(s->run("logging a merge"));
  }
  logged_ |= !options_.announced;
  return enforcement_.kept();
}

Status Merge::refuse(Block& b, Code code, const std::string& reason) {
  sync::RefusedRow row;
  row.table = b.table.name;
  row.key = b.cursor.key();
  row.key_json = crdt::key_json(b.cursor.key(), b.table.key.size());
  row.code = code;
  row.reason = reason;
  outcome_.refused.push_back(std::move(row));
  return {};
}

namespace {

Status park_raw(Context& ctx, const codec::ChangesetReader& reader, const codec::BlockInfo& info,
                const codec::BlockCursor& raw, const std::string& reason, int64_t due_ms, bool announced) {
  const codec::WireTable& wire = reader.tables()[info.table];
  // What is kept must be able to be taken up.
  std::vector<crdt::ValueRef> key;
  Bytes scratch;
  if (!crdt::decode_key(raw.key(), wire.key.size(), key, scratch))
    return fail(Code::corrupt, "a key of table \"" + wire.name + "\" in the changeset is damaged; nothing was merged");
  codec::FrameInfo frame_info;
  frame_info.source = reader.info().source;
  codec::ChangesetWriter writer(frame_info, ctx.sites);
  writer.begin_table(wire);
  crdt::ColumnSet columns;
  for (uint32_t c : info.columns) columns.add(c);
  writer.add(raw.key(), raw.record(), columns, info.with_life, raw.values());
  return park_frame(ctx, wire.name, raw.key(), wire.key.size(), reason, due_ms, writer.finish(), announced);
}

}  // namespace

Status Merge::park(Block& b, const std::string& reason, int64_t due_ms) {
  if (!b.raw) {
    std::vector<uint32_t> identity(b.reader.tables()[b.info.table].columns.size());
    for (uint32_t i = 0; i < identity.size(); ++i) identity[i] = i;
    b.raw.emplace(b.reader.rows(b.index, site_map_, identity));
  }
  for (; b.raw_at < b.at; ++b.raw_at)
    if (!b.raw->next()) return fail(Code::corrupt, "the changeset's rows are damaged; nothing was merged");
  ++outcome_.rows_parked;
  return park_raw(ctx_, b.reader, b.info, *b.raw, reason, due_ms, options_.announced);
}

Status Merge::unknown_table(const codec::ChangesetReader& reader, size_t index) {
  const codec::BlockInfo& info = reader.blocks()[index];
  const codec::WireTable& wire = reader.tables()[info.table];
  std::vector<uint32_t> identity(wire.columns.size());
  for (uint32_t i = 0; i < identity.size(); ++i) identity[i] = i;
  codec::BlockCursor raw = reader.rows(index, site_map_, identity);
  std::set<Bytes>* former = nullptr;
  if (const Table* table = ctx_.catalog.find_named(wire.name); table && !options_.refuse_unknown) {
    REJOIN_ASSIGN(const KeyBefore before, KeyBefore::load(ctx_, *table));
    if (before.is(wire.key)) former = &former_keys_[table->id];
  }
  while (raw.next()) {
    ++outcome_.rows_seen;
    if (options_.refuse_unknown) {
      sync::RefusedRow row;
      row.table = wire.name;
      row.key = raw.key();
      row.key_json = crdt::key_json(raw.key(), wire.key.size());
      row.code = Code::schema_refused;
      row.reason = "the receiver has no synced table \"" + wire.name +
                   "\" with this key; create it there, or use a token that may (schema)";
      outcome_.refused.push_back(std::move(row));
      continue;
    }
    ++outcome_.rows_parked;
    const int64_t changes = sqlite3_total_changes(ctx_.db);
    REJOIN_TRY(park_raw(
        ctx_, reader, info, raw,
        "this database does not track a table \"" + wire.name + "\" with that key; it will be merged when it does", 0,
        options_.announced));
    if (former && sqlite3_total_changes(ctx_.db) > changes) former->emplace(raw.key());
  }
  return raw.ok() ? Status()
                  : fail(Code::corrupt,
                         "the changeset's rows of table \"" + wire.name + "\" are damaged; nothing was merged");
}

Status Merge::settle_former() {
  for (const auto& [id, keys] : former_keys_) {
    const Table* table = ctx_.catalog.find(id);
    if (!table || keys.empty()) continue;
    REJOIN_ASSIGN(const KeyBefore before, KeyBefore::load(ctx_, *table));
    REJOIN_ASSIGN(const uint64_t settled, before.settle_former(keys));
    outcome_.rows_parked -= std::min(settled, outcome_.rows_parked);
  }
  former_keys_.clear();
  return {};
}

Status Merge::finish() {
  REJOIN_TRY(settle_former());
  REJOIN_ASSIGN(Visibility::Settled settled, visibility_.settle(touched_tables_));
  outcome_.rows_parked += settled.hidden;
  outcome_.rows_parked -= std::min(settled.shown, outcome_.rows_parked);
  REJOIN_TRY(lost_.trim());
  if (newest_ > work_.state.last) work_.state.last = newest_;
  if (newest_ > work_.state.last_remote) work_.state.last_remote = newest_;
  if (logged_) {
    REJOIN_ASSIGN(int64_t tail, log_tail(ctx_));
    work_.state.folded = std::max(work_.state.folded, tail);
    REJOIN_TRY(end_batch(ctx_, tail, origin_));
  }
  return std::exchange(came_known_, false) ? replay_known(work_) : Status();
}

}  // namespace rejoin::sqlite

#include "sqlite/choice.h"

#include <algorithm>

#include "crdt/key.h"
#include "sqlite/unique_claims.h"

namespace rejoin::sqlite {
namespace {

// The values of the reference, or those that a stand-in has in their place.
std::vector<crdt::ValueRef> reference(const ForeignKey& f, const HiddenRow& row, bool stand_in) {
  std::vector<crdt::ValueRef> out;
  for (int at : f.from) {
    if (!stand_in)
      out.push_back(row.value(at));
    else
      out.push_back(f.to_default ? row.table->columns[static_cast<size_t>(at)].default_value.ref() : crdt::ValueRef());
  }
  return out;
}

std::string lacks(const ForeignKey& f, const HiddenRow& row) {
  std::vector<crdt::ValueRef> values = reference(f, row, false);
  Bytes key;
  crdt::encode_key(values, key);
  return "its \"" + f.what + "\" refers to a row of \"" + f.parent + "\", " + crdt::key_json(key, values.size()) +
         ", that is not visible here (FOREIGN KEY)";
}

}  // namespace

bool HiddenRow::Parent::shows() const {
  // A stand-in does not have what it leaves out.
  auto has = [&](int column, const HiddenRow& parent) {
    return std::none_of(parent.without.begin(), parent.without.end(), [&](const ForeignKey* f) {
      return std::find(f->from.begin(), f->from.end(), column) != f->from.end();
    });
  };
  return visible || std::any_of(among.begin(), among.end(), [&](const HiddenRow* p) {
           return !p->out && std::all_of(by->to.begin(), by->to.end(), [&](int column) { return has(column, *p); });
         });
}

BaseWriter::Row HiddenRow::shown() const {
  BaseWriter::Row all = row;
  for (const ForeignKey* f : without) {
    const std::vector<crdt::ValueRef> instead = reference(*f, *this, true);
    for (size_t i = 0; i < f->from.size(); ++i) all.values[static_cast<size_t>(f->from[i])] = instead[i];
  }
  return all;
}

Status Choice::run(const std::vector<HiddenRow*>& rows) {
  targets_.clear();
  for (HiddenRow* h : rows) {
    h->out = !h->refused.empty();
    h->reason = h->refused;
    h->without.clear(), h->parents.clear(), h->substitutes.clear(), h->children.clear();
  }
  for (HiddenRow* h : rows) {
    if (h->out) continue;
    for (const ForeignKey& f : h->table->constraints.parents) {
      REJOIN_ASSIGN(HiddenRow::Parent parent, find_parent(f, reference(f, *h, false), rows));
      HiddenRow::Parent instead;
      if (f.stands_in && !parent.visible) {
        REJOIN_ASSIGN(instead, find_parent(f, reference(f, *h, true), rows));
      }
      h->parents.push_back(std::move(parent));
      h->substitutes.push_back(std::move(instead));
    }
  }
  for (HiddenRow* h : rows)
    for (const auto* found : {&h->parents, &h->substitutes})
      for (const HiddenRow::Parent& parent : *found)
        for (HiddenRow* p : parent.among) p->children.push_back(h);
  // Whoever goes out, or leaves a reference out, makes its children be looked at again.
  std::vector<HiddenRow*> work(rows.rbegin(), rows.rend());
  while (!work.empty()) {
    HiddenRow& h = *work.back();
    work.pop_back();
    if (h.out) continue;
    const size_t left_out = h.without.size();
    REJOIN_ASSIGN(h.out, decide(h));
    if (h.out || h.without.size() > left_out) work.insert(work.end(), h.children.begin(), h.children.end());
  }
  off_.reset();
  for (HiddenRow* h : rows)
    for (size_t i = 0; i < h->parents.size() && h->reason.empty(); ++i)
      if (!h->parents[i].shows()) h->reason = lacks(h->table->constraints.parents[i], *h);
  return {};
}

// Must it stay hidden?
Result<bool> Choice::decide(HiddenRow& h) {
  bool tried = true;
  for (size_t i = 0; i < h.parents.size(); ++i) {
    const ForeignKey& f = h.table->constraints.parents[i];
    if (h.parents[i].shows()) continue;
    if (!f.stands_in || !h.substitutes[i].shows()) return true;
    if (std::find(h.without.begin(), h.without.end(), &f) != h.without.end()) continue;
    h.without.push_back(&f);
    tried = false;
  }
  if (tried) return false;
  REJOIN_ASSIGN(h.refused, refusal(h));
  h.reason = h.refused;
  return !h.refused.empty();
}

// Why the table would refuse the stand-in whatever other rows it has. Asked before anything is shown because of it:
// else a chain of rows would be shown and taken back one by one.
Result<std::string> Choice::refusal(const HiddenRow& stand_in) {
  if (!off_) {
    REJOIN_TRY(enforcement_.end());
    off_.emplace(ctx_.db, true);
  }
  REJOIN_ASSIGN(Trial trial, try_row(ctx_, *stand_in.table, stand_in.shown()));
  return trial.refused;
}

Result<HiddenRow::Parent> Choice::find_parent(const ForeignKey& f, const Reference& values,
                                              const std::vector<HiddenRow*>& rows) {
  HiddenRow::Parent out;
  out.by = &f;
  REJOIN_ASSIGN(out.visible, is_visible(f, values));
  if (out.visible || !f.parent_id || !f.comparable) return out;
  auto [target, made] = targets_.try_emplace({f.parent_id, f.to});
  if (made)
    for (HiddenRow* p : rows) {
      if (p->table->id != f.parent_id || p->out) continue;
      Bytes tuple;
      for (size_t i = 0; i < f.to.size(); ++i) crdt::encode_claimed(p->value(f.to[i]), f.collations[i], tuple);
      target->second[tuple].push_back(p);
    }
  REJOIN_ASSIGN(Bytes tuple, compared(f, values));
  if (auto at = target->second.find(tuple); at != target->second.end()) out.among = at->second;
  return out;
}

Result<bool> Choice::is_visible(const ForeignKey& f, const Reference& values) {
  REJOIN_ASSIGN(Statement * s, ctx_.statement(f.exists));
  Use use(*s);
  int i = 1;
  for (const crdt::ValueRef& v : values) {
    if (v.type == crdt::ValueType::null) return true;
    s->bind(i++, v);
  }
  return s->step("looking for the row that one refers to");
}

// The values as the parent's columns compare them: with their affinity, and by their collation.
Result<Bytes> Choice::compared(const ForeignKey& f, const Reference& values) {
  const Table& parent = *ctx_.catalog.find(f.parent_id);
  Bytes out;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = f.to[i];
    const Affinity affinity =
        (at >= 0 ? parent.columns[static_cast<size_t>(at)] : parent.key[static_cast<size_t>(-1 - at)]).affinity;
    if (!BaseWriter::altered_by_affinity(values[i], affinity)) {
      crdt::encode_claimed(values[i], f.collations[i], out);
      continue;
    }
    REJOIN_ASSIGN(Statement * s, ctx_.statement(affinity == Affinity::text ? "SELECT CAST(?1 AS TEXT)"
                                                                           : "SELECT CAST(?1 AS NUMERIC)"));
    Use use(*s);
    s->bind(1, values[i]);
    REJOIN_TRY(s->step("converting a reference"));
    crdt::encode_claimed(s->value(0), f.collations[i], out);
  }
  return out;
}

Result<bool> Choice::found_parent(const HiddenRow& row) {
  for (size_t i = 0; row.refused.empty() && i < row.parents.size(); ++i) {
    const ForeignKey& f = row.table->constraints.parents[i];
    if (f.comparable || row.parents[i].visible) continue;
    REJOIN_ASSIGN(bool visible, is_visible(f, reference(f, row, false)));
    if (visible) return true;
  }
  return false;
}

}  // namespace rejoin::sqlite

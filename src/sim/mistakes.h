// What the canary test turns wrong.
#pragma once

namespace rejoin::sim {

// Each switch turns one rule of the model wrong. The canary test does so, to see that the checks would notice.
struct Mistakes {
  bool delete_always_wins = false;
  bool update_revives = false;
  bool site_does_not_break_ties = false;
  bool older_write_wins = false;
  bool update_stamps_all_columns = false;
  bool unchanged_columns_are_stamped = false;
  bool replace_is_an_update = false;
  bool upsert_is_an_insert = false;
  bool key_change_keeps_versions = false;
  bool restore_is_an_insert = false;
  bool edits_of_the_dead_are_lost = false;
  bool cells_survive_a_new_birth = false;
  bool rollback_is_ignored = false;
  bool nothing_is_forgotten = false;
  bool type_is_not_compared = false;
  // of what a statement does under constraints
  bool displaced_rows_stay = false;
  bool nothing_cascades = false;
  bool restrict_is_ignored = false;
  bool check_columns_are_apart = false;
  // of what is visible
  bool later_claim_wins = false;
  bool hidden_rows_claim_nothing = false;
  bool nocase_is_binary = false;
  bool partial_index_has_all = false;
  bool orphans_are_shown = false;
  bool stand_ins_are_hidden = false;
  // of UNIQUE indexes that come late
  bool late_indexes_hide_nothing = false;
  bool late_indexes_are_made_over_anything = false;
  // of tables that change
  bool unknown_columns_are_lost = false;
  bool former_names_are_forgotten = false;
  bool former_table_names_are_forgotten = false;
  bool rows_of_later_table_names_are_lost = false;
  bool added_columns_are_written = false;
  bool deletions_survive_a_new_key = false;
  bool a_new_key_stamps_anew = false;
  bool rows_with_a_later_key_are_lost = false;
  bool writes_between_begin_and_commit_are_lost = false;
  // of tables with constraints that change
  bool renamed_columns_claim_nothing = false;
  bool dropped_indexes_stay = false;
};

}  // namespace rejoin::sim

// The bytes of a record at rest (docs/formats-record.md): small, read back as they were, and one form only.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <fstream>
#include <sstream>

#include "crdt/law_generators.h"
#include "crdt/record.h"

namespace rejoin::crdt {
namespace {

constexpr size_t kSites = 3;

Bytes encoded(const RowRecord& record) {
  Bytes out;
  encode_record(record, out);
  return out;
}

bool decodes(BytesView bytes, size_t sites = kSites) {
  RowRecord record;
  return decode_record(bytes, sites, record);
}

bool decodes_hex(std::string_view hex) { return decodes(from_hex(hex).value()); }

RC_GTEST_PROP(RecordEncoding, RoundTrip, ()) {
  auto record = *law::record();
  RowRecord back;
  back.insert({77, 2}, 9);  // a reused record
  RC_ASSERT(decode_record(encoded(record), kSites, back));
  RC_ASSERT(back == record);
}

RC_GTEST_PROP(RecordEncoding, RoundTripOfManyGroups, ()) {
  auto record = *law::wide_record();
  RowRecord back;
  RC_ASSERT(decode_record(encoded(record), kSites, back));
  RC_ASSERT(back == record);
}

RC_GTEST_PROP(RecordEncoding, RoundTripOfAnyStamp, (Hlc live, Hlc birth, uint32_t site)) {
  RowRecord record, back;
  record.live = {live | 1, site % 1000};
  record.birth = {birth | 1, site / 7 % 1000};
  if (*rc::gen::arbitrary<bool>()) record.birth.hlc = live | 1;
  record.groups = {{ColumnSet::of(3), record.birth}, {ColumnSet::of(5), {~Hlc{0}, 999}}};
  if (record.birth == record.groups[1].stamp) record.groups.pop_back();
  RC_ASSERT(decode_record(encoded(record), 1000, back));
  RC_ASSERT(back == record);
}

// Bytes near a valid record: a few changed, inserted, cut or appended.
rc::Gen<Bytes> damaged_record() {
  return rc::gen::exec([] {
    Bytes bytes = encoded(*law::record());
    for (int n = *rc::gen::element(0, 1, 1, 2, 3); n > 0 && !bytes.empty(); --n) {
      size_t at = *rc::gen::arbitrary<uint16_t>() % bytes.size();
      switch (*rc::gen::element(0, 1, 2, 3, 4)) {
        case 0:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << *rc::gen::element(0, 1, 2, 3, 4, 5, 6, 7));
          break;
        case 1:
          bytes[at] = *rc::gen::element('\0', '\1', '\2', '\4', '\x7f', '\x80', '\xff');
          break;
        case 2:
          bytes.erase(at, 1);
          break;
        case 3:
          bytes.insert(at, 1, *rc::gen::element('\0', '\1', '\2', '\4', '\x80'));
          break;
        default:
          bytes.resize(at);
          break;
      }
    }
    return bytes;
  });
}

RC_GTEST_PROP(RecordEncoding, EveryByteStringFailsOrIsTheEncodingOfItsRecord, ()) {
  Bytes bytes = *damaged_record();
  RowRecord record;
  bool ok = decode_record(bytes, kSites, record);
  RC_CLASSIFY(ok, "decodes");
  if (!ok) return;
  RC_ASSERT(to_hex(encoded(record)) == to_hex(bytes));
  // Only the order of equal clocks needs the sites themselves; the rest of canonical form is the decoder's to check.
  RowRecord same = law::canonical(record);
  if (encoded(same) != bytes) {
    bool tie = std::any_of(record.groups.begin(), record.groups.end(),
                           [&](const CellGroup& g) { return g.stamp.hlc == record.birth.hlc; });
    RC_ASSERT(tie);
  } else {
    RC_ASSERT(law::is_canonical(record));
  }
}

RC_GTEST_PROP(RecordEncoding, ACutRecordIsRefused, ()) {
  Bytes bytes = encoded(*law::record());
  for (size_t n = 0; n < bytes.size(); ++n) RC_ASSERT(!decodes(bytes.substr(0, n)));
  RC_ASSERT(!decodes(bytes + '\0'));
}

RC_GTEST_PROP(RecordEncoding, SitesBeyondTheTableAreRefused, ()) {
  auto record = *law::record();
  uint32_t greatest = std::max(record.live.site, record.birth.site);
  for (const CellGroup& g : record.groups) greatest = std::max(greatest, g.stamp.site);
  bool any = !record.live.bottom() || !record.birth.bottom() || !record.groups.empty();
  RC_ASSERT(decodes(encoded(record), greatest + 1));
  RC_ASSERT(!any || !decodes(encoded(record), greatest));
}

TEST(RecordEncoding, AFreshInsertTakesAboutADozenBytesWhateverItsColumns) {
  RowRecord record;
  record.insert({hlc_of_ms(1'763'722'323'141), 0}, 5);
  EXPECT_EQ(encoded(record).size(), 10u);
  record.insert({hlc_of_ms(1'763'722'323'141) + 300, 200}, 2000);
  EXPECT_EQ(encoded(record).size(), 13u);
}

TEST(RecordEncoding, AnEditedColumnTakesAFewBytesMore) {
  RowRecord record;
  record.insert({hlc_of_ms(1'763'722'323'141), 0}, 5);
  record.write(ColumnSet::of(4), {hlc_of_ms(1'763'722'323'141 + 60'000), 1});  // a minute later
  EXPECT_EQ(encoded(record).size(), 16u);
}

TEST(RecordEncoding, AppendsToItsOutput) {
  RowRecord record;
  record.insert({hlc_of_ms(1), 0}, 1);
  Bytes out = "before";
  encode_record(record, out);
  EXPECT_EQ(out, "before" + encoded(record));
}

// The worked example of docs/formats-record.md. Whoever changes these bytes changes the format.
TEST(RecordEncoding, WorkedExampleOfTheDocumentation) {
  RowRecord record;
  record.insert({hlc_of_ms(1'763'722'323'141), 0}, 5);
  EXPECT_EQ(to_hex(encoded(record)), "1b019aa60ae4c5000005");
  record.write(ColumnSet::of(2), {hlc_of_ms(1'763'722'383'141) + 1, 1});
  EXPECT_EQ(to_hex(encoded(record)), "5b019aa60ae4c5000005010881d30e0101");
  record.alive = false;
  record.live = {hlc_of_ms(1'763'722'389'141), 1};
  EXPECT_EQ(to_hex(encoded(record)), "56019aa60be6950001be8e1000050108bfbb010101");
}

std::vector<std::string> golden_lines() {
  std::ifstream file(REJOIN_SOURCE_DIR "/tests/golden/records.txt");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  return lines;
}

// Every record that some version of Rejoin may have written must be readable for ever: lines are added, never changed.
TEST(RecordEncoding, GoldenRecordsReadAsTheyDid) {
  SiteTable sites;
  for (char c : {'m', 'a', 'z'}) sites.intern(SiteId::from(c + Bytes(15, 's')));
  auto lines = golden_lines();
  EXPECT_GE(lines.size(), 20u);
  for (const std::string& line : lines) {
    size_t blank = line.find(' ');
    std::string hex = line.substr(0, blank);
    RowRecord record;
    ASSERT_TRUE(decode_record(from_hex(hex).value(), kSites, record)) << line;
    EXPECT_EQ(hex + " " + record_text(record, sites), line);
    EXPECT_EQ(to_hex(encoded(record)), hex);
  }
}

TEST(RecordEncoding, OtherFormsOfTheSameRecordAreRefused) {
  EXPECT_TRUE(decodes_hex("1b019aa60ae4c5000005"));
  EXPECT_TRUE(
      decodes_hex("5b019aa60ae4c5000005"
                  "02"
                  "020400"
                  "040800"));  // what several of the refused are near to
  const std::pair<const char*, const char*> refused[] = {
      {"", "nothing"},
      {"80", "an unknown flag"},
      {"01", "alive without liveness"},
      {"9b019aa60ae4c5000005", "an unknown flag on a good record"},
      {"0800", "born with a liveness that is not there"},
      {"02000000000000"
       "0000",
       "a liveness that is bottom"},
      {"1f019aa60ae4c50000019aa60ae4c5000005", "a birth both written and born with live"},
      {"17019aa60ae4c5000000"
       "0005",
       "a birth equal to live that is written"},
      {"1b019aa60ae4c500000500", "a byte too many"},
      {"1b019aa60ae4c5000000", "a base group without columns"},
      {"1b019aa60ae4c50000"
       "818002",
       "a base group beyond 32768 columns"},
      {"1b019aa60ae4c5000085"
       "00",
       "a varint that is not the shortest"},
      {"1b019aa60ae4c5808004"
       "0005",
       "a counter of 65536"},
      {"10"
       "05",
       "a base group without birth"},
      {"4b019aa60ae4c50000"
       "00",
       "no groups, said twice"},
      {"4b019aa60ae4c50000"
       "01"
       "3e0000",
       "a base group written as an ordinary one"},
      {"5b019aa60ae4c5000005"
       "01"
       "400000",
       "a second group with the base group's stamp"},
      {"5b019aa60ae4c5000005"
       "02"
       "020400"
       "400000",
       "the same beside an edited column"},
      {"4b019aa60ae4c50000"
       "02"
       "0a0000"
       "080400",
       "a column with both the birth's stamp and a later one"},
      {"5b019aa60ae4c5000003"
       "01"
       "080400",
       "a base group whose last column is another group's"},
      {"5b019aa60ae4c5000005"
       "01"
       "000400",
       "a group without columns"},
      {"5b019aa60ae4c5000005"
       "02"
       "020400"
       "020800",
       "groups that share a column"},
      {"5b019aa60ae4c5000005"
       "02"
       "040400"
       "020800",
       "groups out of order"},
      {"5b019aa60ae4c5000005"
       "02"
       "020400"
       "040400",
       "groups that share a stamp"},
      {"5b019aa60ae4c5000005"
       "01"
       "08050000",
       "a counter that is announced and zero"},
      {"5b019aa60ae4c5000005"
       "01"
       "080580800400",
       "a counter of 65536 in a later stamp"},
      {"42019aa60ae4c50000"
       "01"
       "0296a6aec1a9cd0100",
       "a time before 1970"},
      {"5b019aa60ae4c5000005"
       "01"
       "080200",
       "a group below the birth"},
      {"5b019aa60ae4c5000005"
       "01"
       "030104"
       "00",
       "the long form of a column set that fits the short one"},
      {"5b019aa60ae4c5000005"
       "01"
       "050100"
       "0400",
       "a column set whose last word is zero"},
      {"5b019aa60ae4c5000005"
       "01"
       "01"
       "0400",
       "a column set of no words"},
  };
  for (auto [hex, why] : refused) EXPECT_FALSE(decodes_hex(hex)) << why;
}

TEST(RecordEncoding, BirthColumnsWithAHoleAreAnOrdinaryGroup) {
  // Column 1 was dropped from the table before this insert: {0, 2} is not "columns 0..n-1 less other groups".
  RowRecord record, back;
  record.insert({hlc_of_ms(1'763'722'323'141), 0}, 3);
  record.write(ColumnSet::of(1), {});
  EXPECT_EQ(to_hex(encoded(record)),
            "4b019aa60ae4c50000"
            "01"
            "0a0000");
  ASSERT_TRUE(decode_record(encoded(record), kSites, back));
  EXPECT_EQ(back, record);
  // Once column 1 has a stamp of its own, it is.
  record.write(ColumnSet::of(1), {hlc_of_ms(1'763'722'323'141) + 1, 0});
  EXPECT_EQ(to_hex(encoded(record)),
            "5b019aa60ae4c50000"
            "03"
            "01"
            "04010100");
}

TEST(RecordEncoding, AHugeCountAsksForNoMemory) {
  EXPECT_FALSE(
      decodes_hex("5b019aa60ae4c5000005"
                  "ffffffffffffffffff01"));
  EXPECT_FALSE(
      decodes_hex("5b019aa60ae4c5000005"
                  "01"
                  "ffffffffffffffffff01"));
}

}  // namespace
}  // namespace rejoin::crdt

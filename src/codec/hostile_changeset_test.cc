// Damaged, mutated and hostile changesets are refused: no crash, no read out of bounds, no memory beyond a small
// multiple of the frame.
#include <gtest/gtest.h>
#include <malloc.h>
// gtest first
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <new>

#include "codec/changeset_golden.h"
#include "codec/changeset_layout.h"
#include "codec/print.h"

// Counts what is allocated, to see what a hostile frame can ask for.
namespace {
thread_local size_t live_bytes = 0, peak_bytes = 0;
}  // namespace

// Not inlined: the compiler would take malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(size_t n) {
  void* p = std::malloc(n ? n : 1);
  if (!p) std::abort();
  live_bytes += malloc_usable_size(p);
  if (live_bytes > peak_bytes) peak_bytes = live_bytes;
  return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  if (p) live_bytes -= malloc_usable_size(p);
  std::free(p);
}
void operator delete(void* p, size_t) noexcept { operator delete(p); }

namespace rejoin::codec {
namespace {

using namespace samples;
namespace L = layout;

Bytes with_checksum(Bytes body) {
  put_be64(body, L::checksum(body));
  return body;
}

Bytes rechecked(BytesView frame) { return with_checksum(Bytes(frame.substr(0, frame.size() - L::kChecksumBytes))); }

// Opens and walks. True when every row was sound. Fails the test when that took too much memory.
bool accepted(BytesView frame, const Limits& limits = {}) {
  size_t before = live_bytes;
  peak_bytes = before;
  bool sound = false;
  {
    Result<ChangesetReader> reader = ChangesetReader::open(frame, limits);
    sound = reader.ok() && walk(*reader);
  }
  EXPECT_LE(peak_bytes - before, 100 * frame.size() + 10'000) << "frame of " << frame.size() << " bytes";
  EXPECT_EQ(live_bytes, before) << "a leak";
  return sound;
}

TEST(HostileChangeset, every_flipped_bit_is_refused) {
  for (const auto& [name, sample] : golden_samples()) {
    Bytes frame = sample.frame();
    ASSERT_TRUE(accepted(frame)) << name;
    for (size_t bit = 0; bit < frame.size() * 8; ++bit) {
      Bytes bad = frame;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
      ASSERT_FALSE(ChangesetReader::open(bad).ok()) << name << " bit " << bit;
    }
  }
}

TEST(HostileChangeset, every_cut_and_every_extension_is_refused) {
  for (const auto& [name, sample] : golden_samples()) {
    Bytes frame = sample.frame();
    for (size_t n = 0; n < frame.size(); ++n) {
      ASSERT_FALSE(ChangesetReader::open(BytesView(frame).substr(0, n)).ok()) << name << " cut to " << n;
      // Also when the cut was made by somebody who can compute checksums.
      ASSERT_FALSE(ChangesetReader::open(with_checksum(frame.substr(0, n))).ok() && n < frame.size() - 8)
          << name << " cut to " << n;
    }
    EXPECT_FALSE(ChangesetReader::open(frame + '\0').ok());
    EXPECT_FALSE(ChangesetReader::open(with_checksum(frame.substr(0, frame.size() - 8) + '\0')).ok());
    EXPECT_FALSE(ChangesetReader::open('\0' + frame).ok());
  }
}

TEST(HostileChangeset, every_changed_byte_with_a_right_checksum_is_survived) {
  for (const auto& [name, sample] : golden_samples()) {
    Bytes frame = sample.frame();
    for (size_t at = 0; at < frame.size() - 8; ++at)
      for (int change = 0; change < 14; ++change) {
        static constexpr int kValues[] = {0, 1, 2, 0x7f, 0x80, 0xff};
        Bytes bad = frame;
        bad[at] = static_cast<char>(change < 8 ? bad[at] ^ 1 << change : kValues[change - 8]);
        accepted(rechecked(bad));
        ASSERT_FALSE(HasFailure()) << name << " byte " << at << " change " << change;
      }
  }
}

RC_GTEST_PROP(HostileChangesets, mutations_with_a_right_checksum_are_survived, ()) {
  Maker maker(*rc::gen::arbitrary<uint64_t>());
  Bytes frame = maker.sample(1 + maker.below(30)).frame();
  for (int i = 0; i < 50; ++i) {
    Bytes bad = frame;
    for (uint64_t n = 1 + maker.below(4); n > 0; --n) {
      size_t at = 4 + maker.below(bad.size() - 12);
      switch (maker.below(6)) {
        case 0:
          bad[at] = static_cast<char>(bad[at] ^ 1 << maker.below(8));
          break;
        case 1:
          bad[at] = static_cast<char>(maker.below(256));
          break;
        case 2:
          bad[at] = static_cast<char>(0xff);
          break;
        case 3:
          bad.erase(at, std::min<size_t>(1 + maker.below(5), bad.size() - 8 - at));
          break;
        case 4:
          bad.insert(at, maker.bytes(1 + maker.below(10)));
          break;
        default:
          bad.insert(at, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
          break;
      }
    }
    accepted(rechecked(bad));
    // The printer shows what it can of anything.
    if (i == 0) changeset_text(rechecked(bad)), changeset_json(rechecked(bad));
  }
  RC_ASSERT(!testing::Test::HasFailure());
}

// --- frames made by hand
// -------------------------------------------------------------------------------------------------------

Bytes varint(uint64_t v) {
  Bytes out;
  put_varint(out, v);
  return out;
}
Bytes sized(BytesView v) {
  Bytes out;
  put_bytes(out, v);
  return out;
}
Bytes byte(int v) { return Bytes(1, static_cast<char>(v)); }

// The parts of a frame; the defaults are sound: a table t(id; a, b, c), two sites, no blocks.
struct Forge {
  Bytes magic{L::kMagic};
  uint8_t flags = 0;
  uint8_t info_bits = 3;
  uint64_t base_ms = 1000;
  Bytes sites = byte(2) + "site-0 16 bytes." + "site-1 16 bytes.";
  Bytes tables = byte(1) + sized("t") + byte(1) + sized("id") + byte(3) + sized("a") + sized("b") + sized("c");
  std::vector<Bytes> blocks;

  Bytes frame() const {
    Bytes out = magic + byte(flags) + "source 16 bytes." + sized("") + sized("") + varint(1) + varint(1) +
                byte(info_bits) + varint(base_ms) + sites + tables + varint(blocks.size());
    for (const Bytes& block : blocks) out += block;
    return with_checksum(out);
  }
};

// A run of stamps.
Bytes run(uint64_t length, int64_t ms_delta, int64_t site = -1, uint64_t counter = 0) {
  Bytes out = varint((length - 1) << 2 | (site >= 0 ? 2 : 0) | (counter ? 1 : 0));
  if (site >= 0) out += varint(static_cast<uint64_t>(site));
  out += varint(zigzag(ms_delta));
  if (counter) out += varint(counter);
  return out;
}

// Front-coded integer keys 1, 2, ... n.
Bytes keys(uint64_t n) {
  Bytes out;
  for (uint64_t i = 1; i <= n; ++i) {
    Bytes key = key_of({Value::of(static_cast<int64_t>(i))});
    out += i == 1 ? varint(0) + sized(key) : varint(8) + sized(key.substr(8));
  }
  return sized(out);
}

constexpr uint8_t kFresh = L::kLife | L::kAlive | L::kBirthIsLive;
Bytes one_column(uint64_t place) { return byte(1) + varint(place); }
Bytes constant(int64_t v) { return byte(L::kInteger | L::kConstant) + varint(zigzag(v)); }

bool accepts(std::vector<Bytes> blocks) {
  Forge f;
  f.blocks = std::move(blocks);
  return accepted(f.frame());
}

// A block of column a with one stamp for two rows; `column` is its encoding.
Bytes block_with_column(const Bytes& column) {
  return byte(0) + byte(0) + one_column(0) + byte(2) + keys(2) + sized(run(2, 5)) + column;
}

TEST(ForgedChangeset, the_forge_makes_sound_frames) {
  EXPECT_TRUE(accepts({}));
  EXPECT_TRUE(accepts({block_with_column(constant(7))}));
  EXPECT_TRUE(accepts({byte(0) + byte(kFresh) + byte(0) + byte(2) + keys(2) + sized(run(1, 5) + run(1, 1, 1, 3))}));
}

TEST(ForgedChangeset, other_formats_are_unsupported) {
  Forge f;
  f.flags = 1;
  EXPECT_EQ(ChangesetReader::open(f.frame()).error().code, Code::unsupported);
  f = {};
  f.magic = "RJC2";
  EXPECT_EQ(ChangesetReader::open(f.frame()).error().code, Code::unsupported);
  f = {};
  f.info_bits = 4;
  EXPECT_EQ(ChangesetReader::open(f.frame()).error().code, Code::unsupported);
  f = {};
  f.magic = "SQLi";
  EXPECT_EQ(ChangesetReader::open(f.frame()).error().code, Code::corrupt);
  EXPECT_EQ(ChangesetReader::open("").error().code, Code::corrupt);
}

TEST(ForgedChangeset, header_and_dictionaries) {
  Forge f;
  f.base_ms = L::kLargestMs + 1;
  EXPECT_FALSE(accepted(f.frame()));
  f = {};
  f.sites = byte(3) + "site-0 16 bytes." + "site-1 16 bytes.";
  EXPECT_FALSE(accepted(f.frame()));
  f = {};
  f.sites = varint(~uint64_t{0}) + "site-0 16 bytes.";
  EXPECT_FALSE(accepted(f.frame()));
  auto with_tables = [](const Bytes& tables) {
    Forge g;
    g.tables = tables;
    return accepted(g.frame());
  };
  Bytes sound = sized("t") + byte(1) + sized("id") + byte(1) + sized("a");
  EXPECT_TRUE(with_tables(byte(1) + sound));
  EXPECT_TRUE(with_tables(byte(2) + sound + sound)) << "a table twice, as rows that were kept aside come";
  EXPECT_FALSE(with_tables(byte(1) + sized("t") + byte(1) + sized("id") + byte(2) + sized("a") + sized("a")))
      << "a column twice";
  EXPECT_FALSE(with_tables(byte(1) + sized("t") + byte(2) + sized("id") + sized("id") + byte(0)))
      << "a key column twice";
  EXPECT_FALSE(with_tables(byte(1) + sized(BytesView("t\0x", 3)) + byte(1) + sized("id") + byte(0))) << "NUL in a name";
  EXPECT_FALSE(with_tables(varint(uint64_t{1} << 40) + sound));
  EXPECT_FALSE(with_tables(byte(1) + sized("t") + byte(1) + sized("id") + varint(uint64_t{1} << 40)));
}

TEST(ForgedChangeset, shapes_that_make_no_sense) {
  Bytes tail = byte(2) + keys(2) + sized(run(2, 5));
  EXPECT_FALSE(accepts({byte(1) + byte(0) + one_column(0) + tail + constant(1)})) << "no such table";
  EXPECT_FALSE(accepts({byte(0) + byte(128) + one_column(0) + tail + constant(1)})) << "unknown flag";
  EXPECT_FALSE(accepts({byte(0) + byte(L::kAlive) + one_column(0) + tail + constant(1)})) << "alive without liveness";
  EXPECT_FALSE(accepts({byte(0) + byte(L::kBirthIsLive) + one_column(0) + tail + constant(1)}));
  EXPECT_FALSE(accepts({byte(0) + byte(L::kBase) + one_column(0) + byte(2) + keys(2) + constant(1)}));
  EXPECT_FALSE(accepts({byte(0) + byte(0) + byte(0) + byte(2) + keys(2)})) << "neither liveness nor columns";
  EXPECT_FALSE(accepts({byte(0) + byte(kFresh | L::kBase) + byte(0) + tail})) << "base without columns";
  EXPECT_FALSE(
      accepts({byte(0) + byte(L::kMixed) + one_column(0) + byte(2) + keys(2) + sized("") + sized("") + constant(1)}));
  EXPECT_FALSE(accepts({byte(0) + byte(0) + one_column(3) + tail + constant(1)})) << "no such column";
  EXPECT_FALSE(accepts({byte(0) + byte(0) + one_column(~uint64_t{0}) + tail + constant(1)}));
  EXPECT_FALSE(
      accepts({byte(0) + byte(0) + byte(2) + byte(1) + varint(~uint64_t{0} - 1) + tail + constant(1) + constant(1)}))
      << "unsorted";
  EXPECT_FALSE(accepts({byte(0) + byte(0) + byte(4) + byte(0) + byte(0) + byte(0) + byte(0) + tail + constant(1) +
                        constant(1) + constant(1) + constant(1)}))
      << "more columns than the table has";
  EXPECT_FALSE(accepts({byte(0) + byte(0) + one_column(0) + byte(0) + keys(0) + sized("") + constant(1)})) << "no rows";
}

TEST(ForgedChangeset, keys_that_do_not_ascend) {
  auto with_keys = [](int flags, uint64_t rows, const Bytes& key_bytes) {
    return accepts(
        {byte(0) + byte(flags) + one_column(0) + varint(rows) + key_bytes + sized(run(rows, 5)) + constant(1)});
  };
  EXPECT_TRUE(with_keys(0, 2, sized(varint(0) + sized("a") + varint(1) + sized("b"))));
  EXPECT_FALSE(with_keys(0, 2, sized(varint(0) + sized("a") + varint(1) + sized("")))) << "the same key";
  EXPECT_FALSE(with_keys(0, 2, sized(varint(0) + sized("b") + varint(0) + sized("a"))));
  EXPECT_FALSE(with_keys(0, 2, sized(varint(0) + sized("ab") + varint(0) + sized("a"))));
  EXPECT_FALSE(with_keys(0, 2, sized(varint(0) + sized("a") + varint(2) + sized("b")))) << "shares more than there is";
  EXPECT_FALSE(with_keys(0, 1, sized(varint(1) + sized("a"))));
  EXPECT_FALSE(with_keys(0, 2, sized(varint(0) + sized("a") + varint(1) + sized("b") + "x"))) << "bytes left over";
  EXPECT_FALSE(with_keys(0, 3, sized(varint(0) + sized("a") + varint(1) + sized("b")))) << "rows without keys";
  EXPECT_FALSE(with_keys(0, uint64_t{1} << 23, keys(2)));
  Bytes one = "0123456789abcde0", two = "0123456789abcde1";
  EXPECT_TRUE(with_keys(L::kUuidKeys, 2, one + two));
  EXPECT_FALSE(with_keys(L::kUuidKeys, 2, two + one));
  EXPECT_FALSE(with_keys(L::kUuidKeys, 2, one + one));
  EXPECT_FALSE(with_keys(L::kUuidKeys, uint64_t{1} << 20, one + two));
}

TEST(ForgedChangeset, stamps) {
  auto with_stamps = [](const Bytes& stamps) {
    return accepts({byte(0) + byte(0) + one_column(0) + byte(2) + keys(2) + sized(stamps) + constant(1)});
  };
  EXPECT_TRUE(with_stamps(run(2, 5)));
  EXPECT_TRUE(with_stamps(run(2, -1000, 1, 1)));
  EXPECT_FALSE(with_stamps(run(2, -1000))) << "bottom";
  EXPECT_FALSE(with_stamps(run(2, -1001, 1, 1))) << "before 1970";
  EXPECT_FALSE(with_stamps(run(2, int64_t{1} << 48))) << "after the end of time";
  EXPECT_FALSE(with_stamps(run(2, std::numeric_limits<int64_t>::min())));
  EXPECT_FALSE(with_stamps(run(2, 5, 0, 0x10000))) << "counter of more than 16 bits";
  EXPECT_FALSE(with_stamps(run(2, 5, 2))) << "no such site";
  EXPECT_FALSE(with_stamps(run(3, 5))) << "a run longer than the block";
  EXPECT_FALSE(with_stamps(run(uint64_t{1} << 61, 5)));
  EXPECT_FALSE(with_stamps(run(1, 5))) << "rows without stamps";
  EXPECT_FALSE(with_stamps(run(2, 5) + run(1, 0))) << "stamps without rows";
  EXPECT_FALSE(with_stamps(""));
  Forge no_sites;
  no_sites.sites = byte(0);
  no_sites.blocks = {block_with_column(constant(1))};
  EXPECT_FALSE(accepted(no_sites.frame()));
}

TEST(ForgedChangeset, liveness_and_birth) {
  auto with_life = [](int flags, const Bytes& live, const Bytes& birth, const Bytes& cells) {
    return accepts({byte(0) + byte(flags) + one_column(0) + byte(2) + keys(2) + live + birth + cells + constant(1)});
  };
  Bytes five = sized(run(2, 5)), seven = sized(run(2, 7)), bottom = sized(run(2, -1000));
  EXPECT_TRUE(with_life(L::kLife, seven, five, five));
  EXPECT_TRUE(with_life(L::kLife, seven, bottom, five)) << "a birth nobody heard of";
  EXPECT_FALSE(with_life(L::kLife, bottom, five, five)) << "liveness that is bottom";
  EXPECT_FALSE(with_life(L::kLife, seven, seven, five)) << "a cell older than the birth";
  EXPECT_FALSE(with_life(L::kLife, seven, sized(run(2, 5, 1)), five)) << "older by its site";
  EXPECT_TRUE(with_life(L::kLife, seven, five, sized(run(2, 5, 1))));
  EXPECT_TRUE(with_life(L::kLife | L::kBase, seven, five, ""));
  EXPECT_FALSE(with_life(L::kLife | L::kBase, seven, bottom, "")) << "cells as old as a birth that is bottom";
  EXPECT_FALSE(with_life(kFresh, seven, "", five)) << "cells older than birth";
}

TEST(ForgedChangeset, rows_of_several_stamps) {
  // One row of all three columns; `base`: with liveness and birth at 1005.
  auto with_groups = [](bool base, const Bytes& groups, const Bytes& cells) {
    return accepts({byte(0) + byte(L::kMixed | L::kAllColumns | (base ? kFresh | L::kBase : 0)) + byte(1) + keys(1) +
                    (base ? sized(run(1, 5)) : Bytes()) + sized(groups) + sized(cells) + constant(1) + constant(2) +
                    constant(3)});
  };
  EXPECT_TRUE(with_groups(false, byte(1) + byte(1), run(1, 5) + run(1, 1)));
  EXPECT_TRUE(with_groups(false, byte(2) + byte(1) + byte(2), run(1, 5) + run(1, 1) + run(1, 1)));
  EXPECT_TRUE(with_groups(true, byte(1) + byte(6), run(1, 6)));
  EXPECT_FALSE(with_groups(false, byte(0), run(1, 5))) << "no group named";
  EXPECT_FALSE(with_groups(false, byte(3) + byte(1) + byte(2) + byte(4), run(1, 5) + run(1, 1) + run(1, 1) + run(1, 1)))
      << "no rest";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(7), run(1, 5) + run(1, 1))) << "no rest";
  EXPECT_FALSE(with_groups(true, byte(1) + byte(7), run(1, 6))) << "no rest";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(8), run(1, 5) + run(1, 1))) << "a column beyond the block's";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(0), run(1, 5) + run(1, 1))) << "an empty group";
  EXPECT_FALSE(with_groups(false, byte(2) + byte(3) + byte(2), run(1, 5) + run(1, 1) + run(1, 1)))
      << "a column in two groups";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(1), run(2, 5))) << "two groups of one stamp";
  EXPECT_FALSE(with_groups(false, byte(2) + byte(1) + byte(2), run(1, 5) + run(1, 1) + run(1, -1)))
      << "two groups of one stamp";
  EXPECT_FALSE(with_groups(true, byte(1) + byte(6), run(1, 5))) << "a group of the base's stamp";
  EXPECT_FALSE(with_groups(true, byte(1) + byte(6), run(1, 4))) << "a group below the birth";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(1), run(1, 5) + run(1, 1) + run(1, 1))) << "stamps left over";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(1) + byte(0), run(1, 5) + run(1, 1))) << "groups left over";
  EXPECT_FALSE(with_groups(false, byte(1) + byte(1), run(1, 5) + run(1, -1005))) << "bottom";
}

TEST(ForgedChangeset, groups_of_wide_rows) {
  auto with_groups = [](const Bytes& groups) {
    Forge f;
    f.tables = byte(1) + sized("t") + byte(1) + sized("id") + byte(70);
    for (int c = 0; c < 70; ++c) f.tables += sized("c" + std::to_string(c));
    Bytes block = byte(0) + byte(L::kMixed | L::kAllColumns) + byte(1) + keys(1) + sized(groups) +
                  sized(run(1, 5) + run(1, 1) + run(1, 1));
    for (int c = 0; c < 70; ++c) block += constant(c);
    f.blocks = {block};
    return accepted(f.frame());
  };
  EXPECT_TRUE(with_groups(byte(2) + byte(2) + byte(0) + byte(68) + byte(1) + byte(5)));
  EXPECT_FALSE(with_groups(byte(2) + byte(2) + byte(0) + byte(69) + byte(1) + byte(5)))
      << "a column beyond the block's";
  EXPECT_FALSE(with_groups(byte(2) + byte(2) + byte(0) + varint(~uint64_t{0}) + byte(1) + byte(5)));
  EXPECT_FALSE(with_groups(byte(2) + byte(2) + byte(0) + byte(68) + byte(1) + byte(69))) << "a column in two groups";
  EXPECT_FALSE(with_groups(byte(2) + byte(0) + byte(1) + byte(5))) << "an empty group";
  EXPECT_FALSE(with_groups(byte(2) + varint(71) + Bytes(71, '\0') + byte(1) + byte(5)));
}

TEST(ForgedChangeset, columns) {
  auto with_column = [](const Bytes& column) { return accepts({block_with_column(column)}); };
  EXPECT_TRUE(with_column(byte(L::kNull | L::kConstant)));
  EXPECT_FALSE(with_column(byte(L::kNull))) << "nulls are constant";
  EXPECT_FALSE(with_column(byte(6))) << "no such type";
  EXPECT_FALSE(with_column(byte(L::kTagged | L::kConstant)));
  EXPECT_FALSE(with_column(byte(0x40 | L::kInteger) + sized("ab"))) << "unknown bit";
  EXPECT_TRUE(with_column(byte(L::kInteger) + sized("ab")));
  EXPECT_FALSE(with_column(byte(L::kInteger) + sized("a"))) << "rows without values";
  EXPECT_FALSE(with_column(byte(L::kInteger) + sized("abc"))) << "values without rows";
  EXPECT_FALSE(with_column(byte(L::kInteger) + sized("a\x80"))) << "a cut varint";
  EXPECT_FALSE(with_column(byte(L::kInteger) + sized(BytesView("a\x80\0", 3)))) << "a padded varint";
  EXPECT_TRUE(with_column(byte(L::kInteger | 1 << L::kWidthShift) + "\x03"));
  EXPECT_FALSE(with_column(byte(L::kReal | 1 << L::kWidthShift) + "\x03")) << "reals are not packed";
  EXPECT_FALSE(with_column(byte(L::kInteger | L::kConstant | 1 << L::kWidthShift) + "\x03"));
  EXPECT_TRUE(with_column(byte(L::kReal) + Bytes(16, 'r')));
  EXPECT_FALSE(with_column(byte(L::kReal) + Bytes(15, 'r')));
  EXPECT_FALSE(with_column(byte(L::kReal) + Bytes(17, 'r')));
  EXPECT_TRUE(with_column(byte(L::kText) + sized("\x01\x02") + sized("abc")));
  EXPECT_FALSE(with_column(byte(L::kText) + sized("\x01\x03") + sized("abc"))) << "a text beyond the end";
  EXPECT_FALSE(with_column(byte(L::kText) + sized("\x01\x01") + sized("abc"))) << "bytes left over";
  EXPECT_FALSE(with_column(byte(L::kBlob) + sized("\x01" + varint(~uint64_t{0})) + sized("abc")));
  EXPECT_TRUE(with_column(byte(L::kText | L::kConstant) + sized(Bytes(64, 'x'))));
  EXPECT_FALSE(with_column(byte(L::kText | L::kConstant) + sized(Bytes(65, 'x')))) << "too long to stand for many";
  EXPECT_TRUE(with_column(byte(L::kUuidText) + Bytes(32, 'u')));
  EXPECT_FALSE(with_column(byte(L::kUuidText) + Bytes(31, 'u')));
  EXPECT_TRUE(with_column(byte(L::kUuidText | L::kConstant) + Bytes(16, 'u')));
  EXPECT_FALSE(with_column(byte(L::kUuidText | L::kConstant) + Bytes(15, 'u')));
  EXPECT_TRUE(with_column(byte(L::kTagged) + byte(L::kNull | L::kInteger << 4) + sized("a") + sized("")));
  EXPECT_FALSE(with_column(byte(L::kTagged) + byte(L::kNull | 6 << 4) + sized("") + sized(""))) << "no such tag";
  EXPECT_FALSE(with_column(byte(L::kTagged) + byte(L::kNull | L::kReal << 4) + sized("") + sized("1234567")));
  EXPECT_FALSE(with_column(byte(L::kTagged) + byte(L::kNull | L::kUuidText << 4) + sized("") + sized(Bytes(15, 'u'))));
  EXPECT_FALSE(with_column(byte(L::kTagged) + byte(L::kNull) + sized("a") + sized(""))) << "values left over";
}

TEST(ForgedChangeset, damage_is_found_at_the_last_row_too) {
  Forge f;
  f.blocks = {block_with_column(byte(L::kInteger) + sized("a"))};
  Bytes frame = f.frame();
  auto reader = ChangesetReader::open(frame);
  ASSERT_TRUE(reader.ok());
  std::vector<uint32_t> sites = {0, 1}, columns = {0, 1, 2};
  BlockCursor cursor = reader->rows(0, sites, columns);
  EXPECT_TRUE(cursor.next());
  EXPECT_TRUE(cursor.ok());
  EXPECT_FALSE(cursor.next());
  EXPECT_FALSE(cursor.ok());
  EXPECT_FALSE(cursor.next()) << "and stays so";
}

TEST(ForgedChangeset, limits_are_held) {
  Forge f;
  f.blocks = {block_with_column(constant(1)), block_with_column(constant(1))};
  Bytes frame = f.frame();
  auto refused = [&](Limits limits) {
    auto opened = ChangesetReader::open(frame, limits);
    return !opened.ok() && opened.error().code == Code::too_large &&
           opened.error().message.find("limit") != std::string::npos;
  };
  Limits exact;
  exact.frame_bytes = frame.size();
  exact.rows = 4, exact.tables = 1, exact.columns = 3, exact.sites = 2, exact.name_bytes = 2;
  EXPECT_TRUE(accepted(frame, exact));
  Limits less = exact;
  EXPECT_TRUE(refused((less = exact, less.frame_bytes -= 1, less)));
  EXPECT_TRUE(refused((less = exact, less.rows -= 1, less)));
  EXPECT_TRUE(refused((less = exact, less.tables -= 1, less)));
  EXPECT_TRUE(refused((less = exact, less.columns -= 1, less)));
  EXPECT_TRUE(refused((less = exact, less.sites -= 1, less)));
  EXPECT_TRUE(refused((less = exact, less.name_bytes -= 1, less)));
}

// Rows of three bytes each, and as many constant columns as fit: what the rows spell out is bounded all the same.
TEST(ForgedChangeset, few_bytes_do_not_mean_very_many) {
  Forge f;
  f.tables = byte(1) + sized("t") + byte(1) + sized("id") + varint(2000);
  for (int c = 0; c < 2000; ++c) f.tables += sized("c" + std::to_string(c));
  Bytes front_coded = varint(0) + sized(Bytes(8, '\0'));
  for (uint64_t i = 1; i < 200'000; ++i) {
    Bytes key;
    put_be64(key, i);
    size_t shared = 7;
    while (shared > 0 && (i & ((uint64_t{1} << (8 * (8 - shared))) - 1)) < 1) --shared;
    front_coded += varint(shared) + sized(BytesView(key).substr(shared));
  }
  Bytes block = byte(0) + byte(L::kAllColumns) + varint(200'000) + sized(front_coded) + sized(run(200'000, 5));
  for (int c = 0; c < 2000; ++c) block += byte(L::kText | L::kConstant) + sized(Bytes(64, 'x'));
  f.blocks = {block};
  Bytes frame = f.frame();
  EXPECT_LT(frame.size(), 1u << 20);
  auto opened = ChangesetReader::open(frame);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::too_large);

  // The same with keys that share a long beginning.
  Forge keys_only;
  Bytes long_keys = varint(0) + sized(Bytes(100'000, 'k') + Bytes(2, '\0'));
  for (int i = 1; i < 50'000; ++i) long_keys += varint(100'000) + sized(byte(i >> 8) + byte(i & 255));
  keys_only.blocks = {byte(0) + byte(kFresh) + byte(0) + varint(50'000) + sized(long_keys) + sized(run(50'000, 5))};
  EXPECT_FALSE(accepted(keys_only.frame()));
}

}  // namespace
}  // namespace rejoin::codec

// What the writer and the reader of changesets must agree on. docs/formats-changeset.md tells it byte by byte, with an
// example.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace rejoin::codec::layout {

inline constexpr BytesView kMagic = "RJC1";
inline constexpr size_t kChecksumBytes = 8;
// Magic, flags, source, two empty cursors, through, horizon, bits, clock base, three counts, checksum.
inline constexpr size_t kSmallestFrame = 4 + 1 + 16 + 2 + 2 + 1 + 1 + 3 + kChecksumBytes;

// FrameInfo's booleans.
inline constexpr uint8_t kStartsBatch = 1;
inline constexpr uint8_t kLast = 2;
inline constexpr uint8_t kKnownInfo = kStartsBatch | kLast;

// A block's shape, besides its columns. The rows of a block share it, so that it costs nothing per row.
inline constexpr uint8_t kLife = 1;         // liveness and birth are sent
inline constexpr uint8_t kAlive = 2;        // all rows are alive; else all are dead
inline constexpr uint8_t kBirthIsLive = 4;  // birth carries the stamp of liveness and is not repeated
inline constexpr uint8_t kBase = 8;         // the cells (mixed: those of no named group) carry the stamp of birth
inline constexpr uint8_t kMixed = 16;       // a row's cells carry several stamps
inline constexpr uint8_t kAllColumns = 32;  // of the frame's table, and no list follows
inline constexpr uint8_t kUuidKeys = 64;    // each key is one UUID column, as 16 bytes
inline constexpr uint8_t kKnownBlock = 127;

// How an encoded key of one canonical UUID begins, see crdt/key.h.
inline constexpr char kUuidKeyTag = 0x38;
inline constexpr size_t kUuidKeyBytes = 17;

// A value's type in a column; the first five are crdt::ValueType.
inline constexpr uint8_t kNull = 0, kInteger = 1, kReal = 2, kText = 3, kBlob = 4;
inline constexpr uint8_t kUuidText = 5;  // text that is a canonical UUID, as its 16 bytes
inline constexpr uint8_t kTagged = 7;    // of a column: several types, a tag of four bits for each row
inline constexpr uint8_t kTypeMask = 7;
inline constexpr uint8_t kConstant = 8;  // all rows have one value, which is written once
inline constexpr int kWidthShift = 4;    // two bits: numbers are varints (0) or packed into 1, 2, 4 bits (1, 2, 3)
inline constexpr uint8_t kKnownColumn = 0x3f;

// Longer values are written for each row even when they are all the same, so that few bytes can't mean very many.
inline constexpr size_t kLongestConstant = 64;

// A run of a stamp stream: varint(head), [varint(site)], signed varint(ms - ms before), [varint(counter)].
inline constexpr uint64_t kRunCounter = 1;  // in head: the counter is not zero
inline constexpr uint64_t kRunSite = 2;     // in head: the site differs from the run before (the first: from site 0)
inline constexpr int kRunLengthShift = 2;   // head >> 2: the run's length, less one
inline constexpr uint64_t kLargestMs = (uint64_t{1} << 48) - 1;

// Above so many columns a group is a list of columns instead of a mask.
inline constexpr size_t kMaskColumns = 64;

inline uint64_t checksum(BytesView bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace rejoin::codec::layout

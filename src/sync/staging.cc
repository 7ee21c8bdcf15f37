#include "sync/staging.h"

#include <algorithm>

namespace rejoin::sync {
namespace {

constexpr uint64_t kMaxPosition = ~uint64_t{0} >> 1;

// One after another: memory is one page, whatever the stream's size.
Status merge_staged(Staging& staging, const codec::Limits& limits) {
  for (int64_t after = 0;;) {
    REJOIN_ASSIGN(std::optional<Bytes> frame, staging.staged_after(after));
    if (!frame) return {};
    REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(*frame, limits));
    REJOIN_TRY(staging.merge(reader));
  }
}

}  // namespace

Result<bool> take_frame(Staging& staging, const codec::ChangesetReader& reader, BytesView frame,
                        const codec::Limits& limits) {
  const codec::FrameInfo& info = reader.info();
  if (info.through > kMaxPosition || info.horizon > kMaxPosition)
    return fail(Code::corrupt, "the changeset names a log position that no log has; nothing was merged");
  REJOIN_ASSIGN(std::optional<Stream> stream, staging.stream());
  const bool whole = info.starts_batch && info.through >= info.horizon;
  // One that is older than the stream, and tells all of its own: nothing may ever come that would show it.
  const bool older = whole && stream && info.through < stream->horizon;
  const bool continues = stream && !older && info.from == stream->next && !(info.from.empty() && info.starts_batch);
  if (continues) {
    stream->horizon = std::max(stream->horizon, info.horizon);
    stream->next = info.next;
    if (info.through < stream->horizon) {
      REJOIN_TRY(staging.stage(*stream, frame));
      return true;
    }
    REJOIN_TRY(merge_staged(staging, limits));
    REJOIN_TRY(staging.merge(reader));
    REJOIN_TRY(staging.finish());
    REJOIN_TRY(staging.drop_stream());
    return false;
  }
  if (whole) {
    REJOIN_TRY(staging.merge(reader));
    REJOIN_TRY(staging.finish());
    // What waited for the same positions has come with it. The stream stays open: its reader may go on with its pages.
    if (stream && info.from.empty() && info.through >= stream->horizon) REJOIN_TRY(staging.drop_staged());
    return false;
  }
  if (stream) {
    REJOIN_ASSIGN(const bool repeated, staging.is_staged(frame));
    if (repeated) return true;
  }
  if (!info.starts_batch)
    return fail(Code::gap,
                "this page continues another that was not applied; apply the pages in order, from the last position on "
                "that was applied");
  REJOIN_TRY(staging.drop_stream());
  REJOIN_TRY(staging.stage(Stream{info.horizon, info.next}, frame));
  return true;
}

}  // namespace rejoin::sync

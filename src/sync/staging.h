// What becomes of a frame that arrives: merged at once, or kept until its stream has reached its horizon, so that no
// reader sees half of another's transaction. docs/protocol.md, "Pulling".
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "codec/changeset.h"
#include "sync/store.h"

namespace rejoin::sync {

// A source's pages that wait for their horizon.
struct Stream {
  uint64_t horizon = 0;
  Bytes next;  // the cursor that the page after them starts from
};

// The store's side of one frame, inside the transaction that takes it. Everything is about the frame's source.
class Staging {
 public:
  virtual ~Staging() = default;
  virtual Result<std::optional<Stream>> stream() = 0;
  // Keeps a page behind those that wait, and the stream as it is with it.
  virtual Status stage(const Stream& stream, BytesView frame) = 0;
  virtual Result<bool> is_staged(BytesView frame) = 0;
  // The first page that waits behind `after` (0: the first of all), which becomes its number; nothing when there is
  // none.
  virtual Result<std::optional<Bytes>> staged_after(int64_t& after) = 0;
  virtual Status drop_staged() = 0;
  virtual Status drop_stream() = 0;  // with its pages

  virtual Status merge(const codec::ChangesetReader& reader) = 0;
  virtual Status finish() = 0;  // after the last frame
};

// Takes one verified frame. True: it waits. Errors: corrupt, gap (it continues a page that is not here), and those of
// the store's merge.
Result<bool> take_frame(Staging& staging, const codec::ChangesetReader& reader, BytesView frame,
                        const codec::Limits& limits);

}  // namespace rejoin::sync

import type { ServerSessionOptions } from "node:http2";

import type { HttpOptions } from "../listen/options.ts";

/** Settings frames may have this many entries; a client needs six or so. */
const SETTINGS_MAX = 32;
/** Invalid frames, such as empty DATA, and streams refused in a row, after which a client is cut off. */
const INVALID_FRAMES_MAX = 100;
const REJECTED_STREAMS_MAX = 100;
/** Streams that clients may reset at once, and per second from then on; ResetBudget watches the share of them besides. */
const RESET_BURST = 1_000;
const RESETS_PER_SECOND = 33;
/** PINGs of ours that may wait for their answers: of keepalive, of draining and of the watch over heads. */
const PINGS_MAX = 3;
/** Pseudo-headers of a request, of which max_headers_count knows nothing. */
const PSEUDO_HEADERS = 5;
/** What one connection may hold in memory, in MB, beside what its windows allow. */
const MEMORY_MB = 10;
/** Requests with bodies are few: windows count with a tenth of the streams that are allowed. */
const MEMORY_MB_MAX = 256;

/** The settings of a client's connection, as node:http2 (nghttp2) takes them. */
export function sessionOptions({ http2, maxHeadersCount, maxRequestHeadersKb }: HttpOptions): ServerSessionOptions {
  const windowsMb = Math.ceil((http2.streamWindowBytes * http2.maxConcurrentStreams) / 1e6);
  return {
    maxDeflateDynamicTableSize: 4_096,
    maxSettings: SETTINGS_MAX,
    maxSessionMemory: Math.min(MEMORY_MB + windowsMb, MEMORY_MB_MAX),
    maxHeaderListPairs: maxHeadersCount + PSEUDO_HEADERS,
    maxOutstandingPings: PINGS_MAX,
    maxSessionInvalidFrames: INVALID_FRAMES_MAX,
    maxSessionRejectedStreams: REJECTED_STREAMS_MAX,
    streamResetBurst: RESET_BURST,
    streamResetRate: RESETS_PER_SECOND,
    unknownProtocolTimeout: 1_000,
    // Two fields of a name are no error of the client's that is told of them.
    strictSingleValueFields: false,
    settings: {
      headerTableSize: http2.hpackTableBytes,
      enablePush: false,
      initialWindowSize: http2.streamWindowBytes,
      maxConcurrentStreams: http2.maxConcurrentStreams,
      maxHeaderListSize: maxRequestHeadersKb * 1_024,
      enableConnectProtocol: http2.allowConnect,
    },
  };
}

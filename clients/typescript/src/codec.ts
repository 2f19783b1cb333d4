// The two codecs: MessagePack in binary frames and JSON in text frames, with the same maps.
import { decode, encode } from '@msgpack/msgpack';
import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from './protocol.js';
import type { ClientMessage, ServerMessage } from './protocol.js';

/** A codec, which the WebSocket's subprotocol selects. */
export interface Codec {
  readonly subprotocol: string;
  encode(message: ClientMessage): string | Uint8Array;
  /** @throws if the frame is not of this codec. */
  decode(frame: string | ArrayBuffer): ServerMessage;
}

/** MessagePack in binary frames: smaller and faster to read. This is the default. */
export const msgpack: Codec = {
  subprotocol: SUBPROTOCOL_MSGPACK,
  encode: message => encode(message, { ignoreUndefined: true }),
  decode(frame) {
    if (typeof frame === 'string') throw new TypeError('a text frame where binary ones were agreed on');
    return decode(frame) as ServerMessage;
  },
};

/** JSON in text frames: readable in the browser's network panel. */
export const json: Codec = {
  subprotocol: SUBPROTOCOL_JSON,
  encode: message => JSON.stringify(message),
  decode(frame) {
    if (typeof frame !== 'string') throw new TypeError('a binary frame where text ones were agreed on');
    return JSON.parse(frame) as ServerMessage;
  },
};
